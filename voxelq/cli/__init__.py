"""The command line, ``voxelq``: one module a command; what commands run is elsewhere."""
