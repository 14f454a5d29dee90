"""The version of VoxelQ, which the package, the API and the documentation read from here."""

VERSION = "0.1.0"
