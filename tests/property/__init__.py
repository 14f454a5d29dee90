"""Tests of what holds for any input, with Hypothesis; the folders are those of the code."""
