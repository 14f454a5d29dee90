"""Arrays through a network: windows, blending, forward passes. Knows no jobs and no bundles."""
