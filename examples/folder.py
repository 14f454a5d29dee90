"""Submit a folder of scans, save their masks, and print a table of what was found.

    python examples/folder.py scans > results.csv

leaves the masks in the current folder. A scan that is refused or fails has its reason in the table,
and the others go on. The service is the one at VOXELQ_URL, or else at http://127.0.0.1:8080.
"""

import csv
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from voxelq import Client, VoxelQError


def row(scan: Path) -> list[object]:
    try:
        found = client.predict(scan)
        found.save_mask(f"{scan.name.split('.nii')[0]}_mask.nii.gz")
        return [scan.name, found.present, found.probability, found.volume_ml, ""]
    except VoxelQError as error:
        return [scan.name, "", "", "", error]


with Client() as client, ThreadPoolExecutor(8) as pool:
    print("scan,present,probability,volume_ml,error")
    csv.writer(sys.stdout).writerows(pool.map(row, sorted(Path(sys.argv[1]).glob("*.nii*"))))
