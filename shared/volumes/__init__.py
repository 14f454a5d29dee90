"""NIfTI volumes as bytes and as arrays, bounded; where they are stored is not known here."""
