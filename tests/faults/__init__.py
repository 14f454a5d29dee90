"""The table of faults, and one test for each of its rows."""
