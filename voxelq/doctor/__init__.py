"""What ``voxelq doctor`` checks: one module for each part of a service."""
