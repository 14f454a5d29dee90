"""How a worker gets jobs and keeps them: drawing, lanes, leases, heartbeat. No arrays, no torch."""
