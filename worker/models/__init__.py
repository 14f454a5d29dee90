"""Loading, checking and caching models. Each kind of bundle has a package of its own."""
