"""How a worker draws, leases and settles jobs. No arrays and no torch."""
