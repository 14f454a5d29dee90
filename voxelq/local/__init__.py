"""What ``voxelq up`` runs on one machine: Valkey, the API and N workers, kept alive."""
