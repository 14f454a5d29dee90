"""The version of VoxelQ: here, and read from here by the package, the API and the documentation."""

VERSION = "0.1.0"
