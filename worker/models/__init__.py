"""Models in service: loaded, checked and cached. Each kind of bundle has a package of its own."""
