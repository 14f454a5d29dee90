"""What the API and the workers share: jobs, results, queue, store. No torch, no fastapi."""
