"""Hostile and broken bundles: what a folder of models may hold at worst."""
