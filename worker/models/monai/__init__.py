"""Bundles in the form of MONAI's model zoo, run as their ``configs/inference.json`` says."""
