"""The command line, ``voxelq``: the commands, and how they print and report errors."""
