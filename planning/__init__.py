"""Capacity before buying: how many workers a load needs, simulated on the real batching policy."""
