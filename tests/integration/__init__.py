"""Tests with real servers: Redis, the API, workers; the folders are those of the code."""
