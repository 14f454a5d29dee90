"""Measures what a whole scan costs, end to end, beside other systems."""
