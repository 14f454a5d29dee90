"""Whether another upload may begin just now: room in the queue, and places for uploads."""
