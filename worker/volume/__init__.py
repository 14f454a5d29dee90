"""Volumes before and after the network: pure functions on arrays; no network and no device."""
