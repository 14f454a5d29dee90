"""The checks of ``voxelq doctor``: this machine, Redis with the workers, and the API."""
