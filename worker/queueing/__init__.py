"""A worker's part in the queue: drawing, lanes, leases, heartbeat, pauses, retention."""
