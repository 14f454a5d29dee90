"""Bundles that are TorchScript or ``torch.export`` files, run as their metadata says."""
