"""Hostile requests, bundles and records against a running API."""
