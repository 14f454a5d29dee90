"""How VoxelQ's batching policy compares with others, in a simulation."""
