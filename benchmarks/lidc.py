"""LIDC-IDRI nodules with four radiologists: to NIfTI, into blocks, and the slices that are measured on.

    python benchmarks/lidc.py convert --data DIR --out DIR      # every nodule, for training and evaluation
    python benchmarks/lidc.py split --data DIR                  # splits/lidc.json and splits/lidc-slices.json
    python benchmarks/lidc.py samples --data DIR                # the cases of sample_data/lung

--data is the folder with nodules/ and nodules.csv: a nodule is two 8-bit pictures, its slices one below the other, grey
values in one and in bit j of the other the mask of radiologist j + 1.

What is written is the plain layout of docs/training.md with a folder of label maps for each radiologist:
images/CASE.nii.gz and labels/radiologist1/CASE.nii.gz to radiologist4/. An empty map is an opinion: nothing here.
Arrays are (column, row, slice), grey values 0..255 as they are, the affine is the identity and no unit is stated,
because the pictures hold neither spacing nor position. Which radiologist is the first differs between scans.
"""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

HERE = Path(__file__).parent
SPLIT = HERE / "splits" / "lidc.json"
SLICES = HERE / "splits" / "lidc-slices.json"
SAMPLES = HERE.parent / "sample_data" / "lung"
SAMPLE_CASES = ("LIDC-IDRI-0921_n0", "LIDC-IDRI-0825_n0", "LIDC-IDRI-1007_n1")
SIZE, RADIOLOGISTS, SEED = 128, 4, 0
PATIENTS = {"calibration": 36, "validation": 107}  # of 711; the others are learnt from
MEASURED = 100  # slices


def read(data: Path, case: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Grey values ``(slices, rows, columns)`` and masks ``(4, slices, rows, columns)`` of one nodule."""
    image, bits = (
        np.asarray(Image.open(data / "nodules" / f"{case}_{kind}.png")).reshape(-1, SIZE, SIZE)
        for kind in ("img", "raters")
    )
    masks = (bits[None] >> np.arange(RADIOLOGISTS, dtype=np.uint8)[:, None, None, None]) & 1
    return image, masks


def nodules(data: Path) -> dict[str, list[str]]:
    """Case names of each patient, in the order of the table."""
    out: dict[str, list[str]] = {}
    with open(data / "nodules.csv", newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            out.setdefault(row["patient"], []).append(f"{row['patient']}_n{row['nodule']}")
    return out


def write(volume: NDArray[np.uint8], path: Path) -> None:
    """``(slices, rows, columns)`` as NIfTI ``(column, row, slice)``; geometry unknown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.ascontiguousarray(volume.transpose(2, 1, 0)), np.eye(4))
    nib.save(image, path)


def convert(data: Path, out: Path, cases: Sequence[str]) -> None:
    """Write the images and label maps of these cases."""
    for case in cases:
        image, masks = read(data, case)
        write(image, out / "images" / f"{case}.nii.gz")
        for j, mask in enumerate(masks, 1):
            write(mask, out / "labels" / f"radiologist{j}" / f"{case}.nii.gz")


def split(data: Path) -> tuple[dict[str, object], dict[str, object]]:
    """Blocks of patients in a seeded random order, and the slices to measure on."""
    by_patient = nodules(data)
    rng = np.random.default_rng(SEED)
    order = [sorted(by_patient)[i] for i in rng.permutation(len(by_patient))]
    first, second = PATIENTS["calibration"], sum(PATIENTS.values())
    patients = {"train": order[second:], "calibration": order[:first], "validation": order[first:second]}
    blocks = {name: [c for p in sorted(chosen) for c in by_patient[p]] for name, chosen in patients.items()}
    marked = [
        {"case": case, "slice": z}
        for case in blocks["validation"]
        for z, mask in enumerate(read(data, case)[1].any(0))
        if mask.any()
    ]
    drawn = sorted(rng.choice(len(marked), MEASURED, replace=False).tolist())
    made = f"python benchmarks/lidc.py split, seed {SEED}"
    about = {
        "description": "LIDC-IDRI nodules. A patient's nodules are all in one block; "
        + ", ".join(f"{len(p)} patients and {len(blocks[n])} nodules in {n}" for n, p in patients.items()),
        "command": made,
    }
    rule = {
        "description": f"{MEASURED} slices drawn at random from the {len(marked)} of the validation block that at "
        "least one of the four radiologists marked; slices count from 0",
        "command": made,
    }
    return {**about, **blocks}, {**rule, "validation": [marked[i] for i in drawn]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["convert", "split", "samples"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("lidc"))
    args = parser.parse_args()
    if args.what == "convert":
        cases = [case for group in nodules(args.data).values() for case in group]
        convert(args.data, args.out, cases)
        print(f"{len(cases)} nodules written")
    elif args.what == "split":
        for path, content in zip((SPLIT, SLICES), split(args.data), strict=True):
            path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            print(f"wrote {path.name}: {content['description']}")
    else:
        for part in ("images", "labels"):
            shutil.rmtree(SAMPLES / part, ignore_errors=True)
        convert(args.data, SAMPLES, SAMPLE_CASES)


if __name__ == "__main__":
    main()
