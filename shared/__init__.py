"""What the front desk and the reading room both speak: jobs, results, the queue, the store."""
