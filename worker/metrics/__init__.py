"""What a worker measures of itself. How it is published belongs elsewhere."""
