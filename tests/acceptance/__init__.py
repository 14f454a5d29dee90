"""Tests of what the documentation promises, with real processes and containers."""
