"""Scans, masks and pictures in the store, the store's identity, and recovery from it."""
