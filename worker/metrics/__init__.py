"""What a worker measures of itself; the names are in `shared.queue.worker_metrics`."""
