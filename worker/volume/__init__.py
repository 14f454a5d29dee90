"""Volumes before and after the network: pure functions on arrays, without torch's devices."""
