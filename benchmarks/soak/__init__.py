"""Whether anything leaks."""
