"""Weights and programs from files, validated before torch reads them. No model is known here."""
