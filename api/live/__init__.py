"""Clients that wait for jobs or follow them, served by one reader of the queue's events."""
