"""Whether an upload may start now: room in the queue, and how many uploads run at once."""
