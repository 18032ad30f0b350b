"""NIfTI in and out, in exact geometry and without trusting the file."""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from napari_pgrd.engine.errors import ExportError, InputError, require
from napari_pgrd.engine.volume import Volume

SUFFIXES = (".nii", ".nii.gz")
MAX_VOXELS = 2**30  # 4 GiB as float32
GZIP_LIMIT = 1032  # deflate cannot expand by more
MAX_OFFSET = 2**26  # bytes before the voxels: what a compressed file must be read through
_TO_MM = {1: 1000.0, 2: 1.0, 3: 0.001}  # metre, mm, micron; any other code says nothing
_UNREADABLE = (OSError, EOFError, ValueError, TypeError, OverflowError, zlib.error, HeaderDataError)
# Free text in headers, in which a patient's name may stand.
_TEXTS = ("descrip", "aux_file", "db_name", "intent_name", "data_type")


def is_nifti(path: str | os.PathLike[str]) -> bool:
    """Whether the name says NIfTI."""
    return str(path).lower().endswith(SUFFIXES)


def stem(path: str | os.PathLike[str]) -> str:
    """File name without ``.nii`` or ``.nii.gz``."""
    name = Path(path).name
    return name[: -len(next(s for s in reversed(SUFFIXES) if name.lower().endswith(s)))] if is_nifti(name) else name


def read_volume(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> Volume:
    """Read one file, or one file a channel, as float32.

    Raises
    ------
    InputError
        If a file is missing, empty, truncated, no NIfTI, absurdly large, not 2D or 3D, not finite, or if the channels
        do not share one grid.
    """
    files = [Path(paths)] if isinstance(paths, (str, os.PathLike)) else [Path(p) for p in paths]
    volumes = [_read_one(path) for path in files]
    first = volumes[0]
    for path, other in zip(files[1:], volumes[1:], strict=True):
        require(
            other.shape == first.shape and np.allclose(other.affine, first.affine, atol=1e-3),
            InputError,
            f"{path.name} has another grid (shape {other.shape}) than {files[0].name} (shape {first.shape}). "
            "All channels must share one; resample them first.",
        )
    if len(volumes) == 1:
        return first
    data = np.concatenate([v.data for v in volumes])
    return Volume(data, first.affine, first.spacing_known, first.name, first.source)


def read_labels(path: str | os.PathLike[str]) -> tuple[NDArray[np.int32], Volume]:
    """Read a label map: whole numbers ``(x, y, z)`` and the volume that carries their geometry."""
    volume = _read_one(Path(path))
    require(
        volume.data.shape[0] == 1,
        InputError,
        f"{Path(path).name} holds {volume.data.shape[0]} volumes; a mask has one.",
    )
    values = volume.data[0]
    labels = np.rint(values).astype(np.int32)
    require(
        bool((np.abs(values - labels) < 1e-3).all()),
        InputError,
        f"{Path(path).name} holds values between whole numbers, so it is no label map. Give a mask with whole numbers.",
    )
    return labels, volume


def _read_one(path: Path) -> Volume:
    require(path.exists(), InputError, f"There is no file {path.name} in the folder given. Check the path.")
    require(path.is_file(), InputError, f"{path.name} is a folder; give a .nii or .nii.gz file.")
    require(is_nifti(path), InputError, f"{path.name} is not NIfTI; give a file that ends in .nii or .nii.gz.")
    require(path.stat().st_size > 0, InputError, f"{path.name} is empty. Copy the file again.")
    try:
        image = _opened(path)
    except Exception as error:  # a damaged file raises whatever its bytes lead the library to
        raise InputError(f"{path.name} is not a readable NIfTI image. Copy or convert the file again.") from error
    shape = _spatial_shape(path, image)
    data = _voxels(path, image).reshape(shape)
    header = image.header
    factor, unit_known = _unit(header)
    with np.errstate(all="ignore"):
        affine = np.diag([factor, factor, factor, 1.0]) @ image.affine
    coded = bool(header["sform_code"] > 0 or header["qform_code"] > 0)
    # Without a unit, an identity matrix is what writers put where they know no voxel size.
    coded = coded and not np.array_equal(image.affine[:3, :3], np.eye(3))
    return Volume(np.moveaxis(data, -1, 0), affine, unit_known or coded, stem(path), header.copy())


def _opened(path: Path) -> nib.Nifti1Image:
    """Header and voxels yet to be read.

    Not by ``nib.load``, which tries other formats too, and parses what stands between header and voxels: XML, DICOM or
    anything else.
    """
    with ImageOpener(str(path)) as stream:
        start = stream.read(nib.Nifti2Header.sizeof_hdr)
    second = nib.Nifti2Header.sizeof_hdr in (int.from_bytes(start[:4], order) for order in ("little", "big"))
    kind: Any = nib.Nifti2Image if second else nib.Nifti1Image
    header = kind.header_class(start[: kind.header_class.sizeof_hdr])
    if bytes(header["magic"])[:3] not in (b"n+1", b"n+2") or not 0 <= header["vox_offset"] <= MAX_OFFSET:
        raise ValueError("two files, or voxels too far behind the header")
    return kind(kind.ImageArrayProxy(path, header.copy()), header.get_best_affine(), header)


def _unit(header: nib.Nifti1Header) -> tuple[float, bool]:
    """What turns its lengths into mm, and whether it says so."""
    code = int(header["xyzt_units"]) % 8
    return _TO_MM.get(code, 1.0), code in _TO_MM


def _spatial_shape(path: Path, image: Any) -> tuple[int, ...]:
    """Shape as ``(x, y, z, channels)``; refuses before anything is allocated."""
    shape = tuple(int(n) for n in image.shape)
    kind = image.get_data_dtype()
    require(
        kind.fields is None and kind.kind in "iuf",
        InputError,
        f"{path.name} stores {kind} values (colour or complex). Convert it to a grey-scale image.",
    )
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    require(
        2 <= len(shape) <= 4,
        InputError,
        f"{path.name} has {len(shape)} dimensions {shape}; give a 2D or 3D image, or a 4D one whose last "
        "axis is channels.",
    )
    shape = (*shape, 1) if len(shape) == 2 else shape
    shape = (*shape, 1) if len(shape) == 3 else shape
    voxels = int(np.prod([float(n) for n in shape]))
    claimed, stored = voxels * kind.itemsize, path.stat().st_size
    limit = stored * GZIP_LIMIT if path.name.lower().endswith(".gz") else stored
    require(
        min(shape) > 0 and voxels <= MAX_VOXELS and claimed <= limit,
        InputError,
        f"{path.name} claims {' x '.join(map(str, shape))} voxels, which its {stored} bytes cannot hold "
        f"or which is over the limit of {MAX_VOXELS} voxels. The file is truncated or damaged; copy it again.",
    )
    return shape


def _voxels(path: Path, image: Any) -> NDArray[np.float32]:
    try:
        with np.errstate(all="ignore"):
            data = np.asarray(image.get_fdata(dtype=np.float32, caching="unchanged"))
    except MemoryError as error:
        raise InputError(f"{path.name} does not fit into memory. Crop it, or close other programs.") from error
    except _UNREADABLE as error:
        raise InputError(f"{path.name} is truncated or damaged. Copy the file again.") from error
    bad = ~np.isfinite(data)
    if bad.any():
        where = tuple(int(i) for i in np.argwhere(bad)[0])
        raise InputError(
            f"{path.name} holds {int(bad.sum())} voxels that are NaN or infinite, the first at {where}. "
            "Replace them by a finite background value, then open the file again."
        )
    return data


def write_nifti(path: str | os.PathLike[str], data: NDArray[Any], like: Volume) -> Path:
    """Write ``(x, y, z)`` or ``(x, y, z, n)`` on the grid of ``like``, to a temporary file first, then rename.

    The header's qform, sform and units are those of the file that ``like`` was read from, if it was.
    """
    path = Path(path)
    header = like.source.copy() if isinstance(like.source, nib.Nifti1Header) else nib.Nifti1Header()
    affine = like.affine
    if isinstance(like.source, nib.Nifti1Header):
        factor, _ = _unit(header)
        affine = np.diag([1 / factor, 1 / factor, 1 / factor, 1.0]) @ affine
    elif like.spacing_known:
        header.set_xyzt_units("mm")
    for field in set(_TEXTS) & set(header.keys()):  # NIfTI-2 has fewer
        header[field] = b""
    header.extensions.clear()  # may hold a patient's name
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    header.set_data_dtype(data.dtype)
    kind: Any = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    image = kind(data, affine, header)
    if not isinstance(like.source, nib.Nifti1Header) and like.spacing_known:
        image.set_sform(affine, code="scanner")
        image.set_qform(affine, code="scanner")
    require(is_nifti(path), ExportError, f"{path.name} must end in {' or '.join(SUFFIXES)}. Choose another name.")
    suffix = ".nii.gz" if path.name.lower().endswith(".gz") else ".nii"
    write_atomically(path, lambda temporary: nib.save(image, temporary), suffix)
    return path


def write_atomically(path: Path, write: Any, suffix: str = "") -> None:
    """Let ``write(temporary_path)`` fill a file beside ``path``, sync it, then rename: all of it or nothing."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=suffix or path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise ExportError(
            f"The folder for {path.name} cannot be written ({error.strerror}). Choose another output folder."
        ) from error
    temporary = Path(name)
    try:
        write(temporary)
        with open(temporary, "rb+") as stream:
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except OSError as error:
        raise ExportError(
            f"{path.name} could not be written ({error.strerror}); an earlier file of that name is untouched. "
            "Free some space or choose another output folder."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
