"""Are DICOM series read as SimpleITK reads them: every series of a folder, voxel by voxel and place by place.

    python benchmarks/dicom_check.py --data DIR

SimpleITK (GDCM) decodes each file by itself, so that neither its order of files nor its idea of the distance of slices
counts: a slice is compared with the file it came from, and its corners with where that file puts them. Voxels marked as
padding are compared with what they become: 0 where they are 0, else the lowest of the others, or 0 if that is above it.
The time is the processor's, of a second read.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError
from napari_pgrd.io.dicom.listing import SeriesInfo, list_series
from napari_pgrd.io.dicom.pixels import DECODERS
from napari_pgrd.io.dicom.series import load_series

RESULT = Path(__file__).parent / "results" / "dicom_check.json"
NEAR_MM = 1e-3


def oracle(file: Path, frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``(column, row)`` values, and the RAS+ places of three corners, by SimpleITK alone."""
    image = SimpleITK.ReadImage(str(file))
    k = max(0, frame - 1)
    columns, rows, _ = image.GetSize()
    corners = [image.TransformIndexToPhysicalPoint(c) for c in ((0, 0, k), (columns - 1, 0, k), (0, rows - 1, k))]
    return SimpleITK.GetArrayFromImage(image)[k].T.astype(float), np.array(corners) * (-1, -1, 1)


def check(info: SeriesInfo, known: dict[Path, str]) -> dict[str, Any]:
    """One series: what it is, and how far it lies from the oracle."""
    folder = known[info.files[0].parent]
    record: dict[str, Any] = {"folder": folder, "series": info.key, "modality": info.modality, "files": len(info.files)}
    if info.kind:
        return record | {"refused": info.kind}
    try:
        load_series(info)
        start = time.process_time()
        volume = load_series(info)
        seconds = time.process_time() - start
    except InputError as error:
        return record | {"refused": str(error)}
    source, (columns, rows, slices) = volume.source, volume.shape
    marked = [ds.get("PixelPaddingValue") for ds in source.datasets]
    worst, theirs, padding = 0.0, np.empty(volume.shape), np.zeros(volume.shape, bool)
    for k, (file, frame) in enumerate(zip(source.files, source.frames, strict=True)):
        theirs[:, :, k], corners = oracle(file, frame)
        ds = source.datasets[k]
        if marked[k] is not None:
            slope, intercept = float(ds.get("RescaleSlope", 1)), float(ds.get("RescaleIntercept", 0))
            padding[:, :, k] = theirs[:, :, k] == float(marked[k]) * slope + intercept
        index = np.array([(0, 0, k), (columns - 1, 0, k), (0, rows - 1, k)])
        places = index @ volume.affine[:3, :3].T + volume.affine[:3, 3]
        worst = max(worst, float(np.abs(places - corners).max()))
    expected = np.where(padding & (theirs != 0), min(0.0, theirs[~padding].min()), theirs)
    wrong, padded = int((volume.data[0] != expected).sum()), int(padding.sum())
    syntax = source.datasets[0].file_meta.TransferSyntaxUID
    return record | {
        "transfer_syntax": syntax.name,
        "decoder": DECODERS[syntax] or "pydicom (no compression)",
        "shape": [columns, rows, slices],
        "spacing_mm": [round(s, 6) for s in volume.spacing] if volume.spacing_known else "not known: one slice",
        "slice_thickness_in_the_files_mm": float(source.datasets[0].get("SliceThickness") or 0),
        "voxels_that_differ": wrong,
        "padding_voxels": padded,
        "largest_distance_mm": worst,
        "processor_seconds": round(seconds, 3),
        "equal": wrong == 0 and worst < NEAR_MM,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with DICOM series, in folders of any depth")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    folders = {p: p.relative_to(given.data).as_posix() for p in [given.data, *given.data.rglob("*")] if p.is_dir()}
    records = [check(info, folders) for info in list_series(given.data)]
    read = [r for r in records if "refused" not in r]
    result = {
        "command": "python benchmarks/dicom_check.py --data DIR",
        "oracle": f"SimpleITK {SimpleITK.Version.VersionString()}",
        "series_read": len(read),
        "series_equal": sum(r["equal"] for r in read),
        "voxels_compared": sum(int(np.prod(r["shape"])) for r in read),
        "series": records,
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{result['series_equal']} of {result['series_read']} series are as {result['oracle']} reads them")


if __name__ == "__main__":
    main()
