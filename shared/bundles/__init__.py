"""Model bundles on disk: reading and validating their folders. Nothing of a bundle is run here."""
