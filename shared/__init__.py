"""What the API and the workers both speak: jobs, results, queue, store. No torch, no fastapi."""
