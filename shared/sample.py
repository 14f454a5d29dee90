"""The sample scan that VoxelQ ships with: a synthetic lesion in real anatomy."""

from pathlib import Path

SAMPLE_SCAN = Path(__file__).with_name("data") / "sample_flair.nii.gz"
