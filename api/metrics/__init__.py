"""What Prometheus scrapes: this process's calls, and what the workers count in Redis."""
