"""Arrays through a network: windows, blending, forward passes. No scans, jobs or bundles."""
