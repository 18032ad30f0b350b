"""``pgrd predict``, ``evaluate``, ``demo`` and ``review``."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from napari_pgrd.cli.dicom import Creator, Deidentify, Kinds, dicom_parts
from napari_pgrd.cli.terminal import parse_box, progress, shown, tell
from napari_pgrd.engine.errors import InputError, require
from napari_pgrd.engine.request import Request

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.volume import Volume

DEFAULT_BUNDLE = "hippocampus-mri"

BundleOption = Annotated[str, Option(help="Name of an embedded bundle, or a bundle's folder.")]
Steps = Annotated[int | None, Option(help="Network calls a sample; default: the bundle's.")]
Samples = Annotated[int | None, Option(help="How many samples; default: the bundle's.")]
Seed = Annotated[int, Option(help="Sample i depends on the seed and on i alone.")]
Solver = Annotated[str | None, Option(help="ddim, ddpm or dpmpp2m; default: the bundle's.")]
Eta = Annotated[float | None, Option(help="0 is deterministic after the first noise, 1 has DDPM's variance.")]
Device = Annotated[str, Option(help="auto, cpu, cuda or mps.")]
Resample = Annotated[bool, Option(help="Bring channels on other grids onto the first channel's.")]
Method = Annotated[str | None, Option(help="One that the bundle offers ('pgrd bundle show'); default: its own.")]


def predict(
    image: Annotated[
        list[Path],
        Argument(help="A NIfTI file, a DICOM folder or any file of it; or one a channel.", show_default=False),
    ],
    out: Annotated[Path, Option(help="Folder for the results.", show_default=False)],
    bundle: BundleOption = DEFAULT_BUNDLE,
    method: Method = None,
    steps: Steps = None,
    samples: Samples = None,
    seed: Seed = 0,
    solver: Solver = None,
    eta: Eta = None,
    device: Device = "auto",
    box: Annotated[str | None, Option(help="Voxels to segment: x0:x1,y0:y1,z0:z1.")] = None,
    correction: Annotated[Path | None, Option(help="A corrected label map, to sample around; with --locked.")] = None,
    locked: Annotated[Path | None, Option(help="A mask: where it is not 0, the correction is kept exactly.")] = None,
    lock_method: Annotated[str | None, Option(help="replacement, guidance or hint; default: the bundle's.")] = None,
    series: Annotated[
        list[str] | None, Option(help="Which series of a DICOM folder, by number; one a channel.")
    ] = None,
    prior_probabilities: Annotated[
        Path | None, Option(help="Another model's map in place of the prior: NIfTI of x, y, z and class.")
    ] = None,
    resample: Resample = False,
    page: Annotated[bool, Option("--report", help="A report of the consensus, too: an HTML page.")] = False,
    dicom: Kinds = None,
    deidentify: Deidentify = False,
    creator: Creator = "",
) -> None:
    """Segment an image: mask, samples, probability, variance, entropy, volumes and a manifest."""
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.engine.scope import check_scope
    from napari_pgrd.io.dicom.planes import source_of
    from napari_pgrd.io.images import read_image
    from napari_pgrd.io.locks import read_locks
    from napari_pgrd.io.probabilities import read_probabilities
    from napari_pgrd.session.dicom import own_files
    from napari_pgrd.session.export import PARTS, REPORT, check_destination, export

    parts = dicom_parts(dicom, deidentify, creator)
    require(
        (correction is None) == (locked is None),
        InputError,
        "Locks need two files: --correction with the labels, and --locked with a mask of what is sure. Give both.",
    )
    require(
        lock_method is None or locked is not None,
        InputError,
        "--lock-method says how samples respect locks, but there are none. Give --correction and --locked, too.",
    )
    request = Request(samples, steps, seed, solver, eta, device, parse_box(box), lock_method=lock_method, method=method)
    loaded = Bundle.load(bundle)
    if prior_probabilities is None:
        request.resolved(loaded.spec)  # what it refuses is said before files are read
    volume = read_image(image, series or (), loaded.spec.channels, resample, tell)
    if correction is not None and locked is not None:
        request = replace(request, locks=read_locks(correction, locked, volume, loaded.spec))
    if prior_probabilities is not None:
        given = read_probabilities(prior_probabilities, volume, len(loaded.spec.labels))
        request = replace(request, prior=given)
    request.resolved(loaded.spec)
    check_scope(volume, loaded.spec, request.box)
    if parts is not None:
        source_of(volume)  # before the time is spent
    given_files = (path for path in (correction, locked, prior_probabilities) if path)
    source = [*image, *own_files(volume), *given_files]
    check_destination(out, source)
    foretell(volume, loaded, request)
    prediction = run(volume, loaded, request)
    what = (*PARTS, REPORT) if page else tuple(PARTS)
    written = export(out, prediction, volume, loaded, request, what=what, source=source, dicom=parts)
    report(prediction, volume, loaded)
    print(f"Wrote {', '.join(path.name for path in written)} to {out}")


def evaluate(
    images: Annotated[Path, Option(help="Folder of images.", show_default=False)],
    labels: Annotated[Path, Option(help="Folder of label maps of the same names.", show_default=False)],
    out: Annotated[Path, Option(help="JSON file for the report.", show_default=False)],
    bundle: BundleOption = DEFAULT_BUNDLE,
    cases: Annotated[Path | None, Option(help="Which cases: a split, a JSON list, or a name a line.")] = None,
    block: Annotated[str, Option(help="Which block, where the list of cases is a split.")] = "validation",
    method: Method = None,
    steps: Steps = None,
    samples: Samples = None,
    seed: Seed = 0,
    solver: Solver = None,
    eta: Eta = None,
    device: Device = "auto",
) -> None:
    """Measure a bundle on cases with known truth, beside its prior as it came and its scaled prior."""
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.evaluate.evaluate import evaluate as measure
    from napari_pgrd.io.cases import choose, pair, read_names
    from napari_pgrd.io.nifti import write_atomically
    from napari_pgrd.session.export import check_destination

    loaded = Bundle.load(bundle)
    found = pair(images, labels)
    chosen = choose(found, read_names(cases, block)) if cases else found
    request = Request(samples, steps, seed, solver, eta, device, method=method).resolved(loaded.spec)
    require(not out.is_dir(), InputError, f"{out.name} is a folder; give the name of a JSON file.")
    check_destination(out.parent)
    with progress() as show:
        result = measure(loaded, chosen, request, lambda fraction, name: show(fraction, name))
    words = ["pgrd", "evaluate", "--bundle", loaded.spec.name, "--images", shown(images), "--labels", shown(labels)]
    words += ["--cases", shown(cases), "--block", block] if cases else []
    words += ["--method", method] if method else []
    words += ["--steps", str(request.steps), "--samples", str(request.samples), "--seed", str(seed)]
    words += ["--solver", request.solver, "--eta", str(request.eta)] if request.solver else []
    words += ["--out", shown(out)]
    text = json.dumps({**result, "command": shlex.join(words)}, indent=1) + "\n"
    write_atomically(out, lambda path: path.write_text(text, encoding="utf-8"))
    for name, m in result["methods"].items():
        print(f"{name:13} dice {m['dice']['mean']:.4f}  nll {m['nll']:.4f}  ece {m['ece']:.4f}  brier {m['brier']:.4f}")
    print(f"Wrote {result['cases']} cases to {out}")


def demo(
    out: Annotated[Path, Option(help="Where pictures and files go if there is no display.")] = Path("pgrd-demo"),
    steps: Steps = None,
    samples: Samples = None,
) -> None:
    """Open the window on a real case and draw samples; without a display, write pictures and files."""
    if has_display():
        from napari_pgrd.viewer.launch import demo as window

        window(samples=samples, steps=steps)
        return
    from napari_pgrd.cli.pictures import picture
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.io.nifti import read_volume
    from napari_pgrd.io.samples import sample_cases
    from napari_pgrd.session.export import check_destination, export

    tell("There is no display, so this demo writes pictures and files instead of opening the window.")
    case, loaded, request = sample_cases()[0], Bundle.load(DEFAULT_BUNDLE), Request(samples, steps)
    check_destination(out, [case.image])
    volume = read_volume(case.image)
    prediction = run(volume, loaded, request)
    export(out, prediction, volume, loaded, request, source=[case.image])
    picture(prediction, volume, loaded.spec, out / "uncertainty.png")
    report(prediction, volume, loaded)
    print(f"The picture is {out / 'uncertainty.png'}; masks, samples, maps and volumes lie beside it.")


def review(
    image: Annotated[Path | None, Argument(help="A NIfTI file or DICOM folder to open.", show_default=False)] = None,
) -> None:
    """Open the window with the dock."""
    require(image is None or image.exists(), InputError, f"There is no file {image}. Check the path.")
    require(has_display(), InputError, "There is no display to open a window on. Use 'pgrd predict' here.")
    from napari_pgrd.viewer.launch import review as window

    window(image)


def foretell(volume: Volume, bundle: Bundle, request: Request) -> None:
    """How long it will take and how much memory, on stderr, by one window that is computed for it."""
    if request.prior is not None:
        return  # then there may be no prior network to measure
    from napari_pgrd.engine.device import is_out_of_memory
    from napari_pgrd.engine.measure import measure
    from napari_pgrd.session.estimate import cost_sentence

    r = request.resolved(bundle.spec)
    try:
        cost = measure(volume, bundle, request)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        tell("Memory ran out while time and memory were measured, so the run will need smaller parts than that.")
        return
    tell(cost_sentence(cost, r.samples or 1, r.steps or 1, r.lock_method))


def run(volume: Volume, bundle: Bundle, request: Request) -> Prediction:
    """Sample with progress on stderr."""
    from napari_pgrd.engine.predict import predict as updates

    result: Prediction | None = None
    with progress() as show:
        for update in updates(volume, bundle, request):
            result = update.prediction or result
            if update.note:
                tell(update.note)
            show(update.fraction, update.progress)
    assert result is not None
    return result


def report(prediction: Prediction, volume: Volume, bundle: Bundle) -> None:
    """The volume of each label and the range of its samples, on stdout."""
    from napari_pgrd.session.volumes import label_volumes

    for v in label_volumes(prediction, volume, bundle.spec):
        size, low, high = (f"{x:.3g}" if v.unit == "mL" else f"{x:.0f}" for x in (v.consensus, v.low, v.high))
        print(f"{v.name}: {size} {v.unit} (5-95 % of the samples: {low} to {high})")


def has_display() -> bool:
    """Whether a window can be seen here."""
    if os.environ.get("QT_QPA_PLATFORM") in ("offscreen", "minimal"):
        return False
    linux = sys.platform.startswith("linux")
    return not linux or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
