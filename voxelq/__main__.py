"""``python -m voxelq``: the command line where no console script is installed."""

from voxelq.cli.app import main

if __name__ == "__main__":
    main()
