"""Are DICOM Segmentations read and written voxel by voxel, as programs that share no code with this one have them?

    python benchmarks/dicom_seg_check.py --data DIR

DIR holds ``dcmqi_ct3_liver_seg`` (three CT slices, two Segmentations and one of them as NRRD) and ``highdicom``
(Segmentations of several kinds). Each is read with ``read_seg``: the liver against the NRRD, every other against what
dcmqi makes of it. Then the liver is written again in every kind and read by dcmqi. Counted are voxels that differ. A
Segmentation whose images are not there is laid on the grid of its own frames.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sysconfig
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK
from numpy.typing import NDArray

from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.spec import BundleSpec, Label, read_spec
from napari_pgrd.engine.volume import Volume
from napari_pgrd.io.dicom.seg import Making, write_seg
from napari_pgrd.io.dicom.seg_read import read_seg
from napari_pgrd.io.dicom.series import read_series

RESULT = Path(__file__).resolve().parent / "results" / "dicom_seg_check.json"


def main() -> None:
    """Parse, compare, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    rows = [*liver(args.data / "dcmqi_ct3_liver_seg"), *others(args.data / "highdicom")]
    for row in rows:
        print(row)
    report = {
        "command": "python benchmarks/dicom_seg_check.py --data DIR",
        "differing_voxels": sum(row.get("differing_voxels", 0) for row in rows),
        "versions": {name: version(name) for name in ("dcmqi", "SimpleITK", "pydicom", "highdicom")},
        "checks": rows,
    }
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def liver(folder: Path) -> list[dict[str, Any]]:
    """The published mask against its NRRD, the overlapping one segment by segment, and what is written from it."""
    with tempfile.TemporaryDirectory() as name:
        images = Path(name, "images")
        images.mkdir()
        for number in (1, 2, 3):
            (images / f"{number}.dcm").write_bytes((folder / f"0{number}.dcm").read_bytes())
        volume = read_series(images)
    truth = on_grid([SimpleITK.ReadImage(str(folder / "liver_seg.nrrd"))], volume)
    spec = spec_of("Liver")
    read = read_seg(folder / "liver.dcm", volume, spec)
    rows = [row("dcmqi_ct3_liver_seg/liver.dcm", "its NRRD", read.values, truth)]
    overlapping = folder / "partial_overlaps.dcm"
    theirs, segments = dcmqi(overlapping)
    for number, label in segments.items():
        mine = read_seg(overlapping, volume, spec_of(label)).values
        one = on_grid(theirs, volume, number)
        rows.append(row(f"dcmqi_ct3_liver_seg/partial_overlaps.dcm, {label}", "dcmqi", mine, one))
    try:
        read_seg(overlapping, volume, spec_of(*segments.values()))
        rows.append({"file": overlapping.name, "refused": False, "differing_voxels": 1})
    except InputError as error:
        rows.append({"file": f"dcmqi_ct3_liver_seg/{overlapping.name}, all segments", "refused": str(error)})
    rows += written(volume, truth.astype(np.uint8), spec)
    return rows


def others(folder: Path) -> list[dict[str, Any]]:
    """highdicom's Segmentations, each segment alone, against dcmqi."""
    rows = []
    for path in sorted(folder.glob("seg_*.dcm")):
        volume = grid_of(path)
        theirs, segments = dcmqi(path)
        fractional = pydicom.dcmread(path, stop_before_pixels=True).SegmentationType == "FRACTIONAL"
        for number, label in segments.items():
            mine = read_seg(path, volume, spec_of(label)).values
            one = on_grid(theirs, volume, None if fractional else number)
            one = one >= 0.5 * pydicom.dcmread(path).MaximumFractionalValue if fractional else one
            rows.append(row(f"highdicom/{path.name}, {label}", "dcmqi", mine, one.astype(np.uint8)))
    return rows


def written(volume: Volume, labels: NDArray[np.uint8], spec: BundleSpec) -> list[dict[str, Any]]:
    """A mask and fractions written here, read by dcmqi."""
    making, rows = Making("AUTOMATIC", "check"), []
    shares = np.random.default_rng(0).integers(0, 256, labels.shape)
    with tempfile.TemporaryDirectory() as name:
        for kind in ("BINARY", "LABELMAP", "FRACTIONAL"):
            values: NDArray[Any] = labels
            if kind == "FRACTIONAL":
                values = np.stack([1 - shares / 255, shares / 255])
            path = write_seg(Path(name, f"{kind}.dcm"), values, kind, volume, spec, making)
            expected = shares if kind == "FRACTIONAL" else labels
            rows.append(row(f"liver written as {kind}", "dcmqi", on_grid(dcmqi(path)[0], volume), expected))
    return rows


def dcmqi(path: Path) -> tuple[list[SimpleITK.Image], dict[int, str]]:
    """The images that dcmqi makes of a Segmentation, and the name of each segment."""
    with tempfile.TemporaryDirectory() as name:
        tool = Path(sysconfig.get_path("scripts"), "segimage2itkimage")
        command = [tool, "--inputDICOM", path, "--outputDirectory", name, "--outputType", "nrrd"]
        subprocess.run([str(word) for word in command], check=True, capture_output=True)
        images = [SimpleITK.ReadImage(str(file)) for file in sorted(Path(name).glob("*.nrrd"))]
        meta = json.loads(Path(name, "meta.json").read_text(encoding="utf-8"))
    stated = pydicom.dcmread(path, stop_before_pixels=True).SegmentSequence
    known = {int(item["labelID"]) for group in meta["segmentAttributes"] for item in group}
    return images, {int(s.SegmentNumber): s.SegmentLabel for s in stated if int(s.SegmentNumber) in known}


def on_grid(images: list[SimpleITK.Image], volume: Volume, only: int | None = None) -> NDArray[Any]:
    """Values of images, or where they are ``only`` that one, each voxel put where it lies in the patient."""
    out = np.zeros(volume.shape, np.int64)
    for image in images:
        array = SimpleITK.GetArrayFromImage(image).T
        array = array if only is None else array == only
        index = np.argwhere(array)
        steps = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
        lps = index @ steps.T + np.array(image.GetOrigin())
        ras = np.column_stack([-lps[:, 0], -lps[:, 1], lps[:, 2], np.ones(len(lps))])
        where = np.linalg.solve(volume.affine, ras.T)[:3]
        if np.abs(where - np.rint(where)).max(initial=0) > 0.01:
            raise SystemExit("an image does not lie on the grid")
        out[tuple(np.rint(where).astype(int))] = array[tuple(index.T)]
    return out


def grid_of(path: Path) -> Volume:
    """An empty volume on the frames of a Segmentation."""
    stored = pydicom.dcmread(path, stop_before_pixels=True)
    shared = stored.SharedFunctionalGroupsSequence[0]
    turn = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    measures = shared.PixelMeasuresSequence[0]
    rows, columns = (float(v) for v in measures.PixelSpacing)
    normal = np.cross(turn[:3], turn[3:])
    at = np.array(
        [g.PlanePositionSequence[0].ImagePositionPatient for g in stored.PerFrameFunctionalGroupsSequence], float
    )
    heights = np.unique(np.round(at @ normal, 3))
    step = float(np.diff(heights).min()) if len(heights) > 1 else float(measures.SliceThickness)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([turn[:3] * columns, turn[3:] * rows, normal * step])
    affine[:3, 3] = at[(at @ normal).argmin()]
    slices = round((heights[-1] - heights[0]) / step) + 1
    shape = (1, int(stored.Columns), int(stored.Rows), slices)
    return Volume(np.zeros(shape, np.uint8), np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def spec_of(*names: str) -> BundleSpec:
    """A bundle's description that knows these labels."""
    spec = read_spec("hippocampus-mri")
    labels = [Label(value=value, name=name, colour="#19E0FF") for value, name in enumerate(names, 1)]
    return spec.model_copy(update={"labels": (spec.labels[0], *labels)})


def row(name: str, other: str, mine: NDArray[Any], theirs: NDArray[Any]) -> dict[str, Any]:
    """One comparison."""
    marked, differing = int(np.count_nonzero(theirs)), int(np.count_nonzero(mine != theirs))
    return {"file": name, "against": other, "marked_voxels": marked, "differing_voxels": differing}


if __name__ == "__main__":
    main()
