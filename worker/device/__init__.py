"""The device: which one, how precisely and how much of it; no model is known here."""
