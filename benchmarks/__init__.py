"""Measurements: each prints a table and the machine, and writes JSON and a plot."""
