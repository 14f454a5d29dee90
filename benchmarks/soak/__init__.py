"""Runs a service under load for long, and says whether its memory grows."""
