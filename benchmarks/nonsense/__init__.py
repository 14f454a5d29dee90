"""Volumes that are no FLAIR brain scan, and heads that are: how many of each are warned of."""
