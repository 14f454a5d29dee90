"""Clients that block on jobs or follow them, all served by one reader of the queue's events."""
