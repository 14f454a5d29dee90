"""Faults for a running service: what injects them, and what must hold after each."""
