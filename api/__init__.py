"""The HTTP service: takes scans, answers clients; computes nothing on their voxels."""
