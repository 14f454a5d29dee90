"""The user's side: the Python client, the command line, and the stack that `voxelq up` runs."""
