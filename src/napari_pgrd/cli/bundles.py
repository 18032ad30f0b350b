"""``pgrd bundle list``, ``show``, ``check``, ``pack`` and ``card``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from napari_pgrd.cli import formats
from napari_pgrd.cli.terminal import tell
from napari_pgrd.engine.errors import InputError
from napari_pgrd.engine.spec import embedded, read_spec

app = typer.Typer(help="Trained models: list, show, check, make.", no_args_is_help=True)
app.command()(formats.schema)
app.command("import-nnunet")(formats.import_nnunet)

Which = Annotated[str, Argument(help="Name of an embedded bundle, or a bundle's folder.", show_default=False)]
Given = Annotated[str, Option(help="Name of an embedded bundle, or a bundle's folder.", show_default=False)]


@app.command("list")
def list_() -> None:
    """Name the bundles that come with the package."""
    for name in embedded():
        print(f"{name}: {read_spec(name).title}")


@app.command()
def show(bundle: Which) -> None:
    """Print what a bundle says about itself."""
    spec = read_spec(bundle)
    print(f"{spec.name}: {spec.title}")
    print(f"  {spec.scope.sentence}")
    print(f"  modality {spec.modality}; channels {', '.join(spec.channels)}; {spec.prepare.dims}D")
    for label in spec.labels:
        print(f"  label {label.value} {label.name} {label.colour}")
    for name in spec.offered:
        s, row = spec.entry(name).sampling, spec.row(name)
        default = f"{s.samples} samples" if row.most != 1 else "1 segmentation"
        default += f" of {s.steps} {s.solver} steps, eta {s.eta:g}" if row.stepwise else ""
        print(f"  method {name}{' (its own)' if name == spec.method else ''}: {row.title}; {default}")
    print(f"  prior temperature {spec.prior_temperature:g}, tau {spec.tau:g}, weight of the mean {spec.mean_weight:g}")
    r = spec.reliability
    if r is not None:
        readers = f" with {r.raters} readers each" if r.raters > 1 else ""
        print(f"  measured on {r.cases} validation cases{readers}: Dice {r.dice:.3f}")
        for name, value in r.among.items():
            print(f"  {name} {value:.3f}")
        for name, held in r.volume_coverage.items():
            print(f"  the samples' 5-95 % range of volumes held the true {name} in {held} of {r.cases}")
        print(f"  {r.unanimous_error_share:.0%} of the remaining errors lie where all samples agree")


@app.command()
def check(bundle: Which) -> None:
    """Check every checksum and load every weight."""
    from napari_pgrd.engine.bundle import Bundle

    loaded = Bundle.load(bundle)
    for method in loaded.spec.offered:
        loaded.networks(method=method)
    print(f"{loaded.spec.name} is whole: sha256 {loaded.digest}")


@app.command()
def pack(
    data: Annotated[Path, Option(help="The data of the trainings.", show_default=False)],
    split: Annotated[Path, Option(help="The split of the trainings.", show_default=False)],
    meta: Annotated[Path, Option(help="TOML file: names, colours, scope, sources.", show_default=False)],
    out: Annotated[Path, Option(help="Folder of the new bundle.", show_default=False)],
    prior: Annotated[Path | None, Option(help="Training of the prior, or a bundle for its prior.")] = None,
    denoiser: Annotated[Path | None, Option(help="Training of the denoiser; without one, no PGRD.")] = None,
    prior_probabilities: Annotated[Path | None, Option(help="In place of --prior: the maps of the trainings.")] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Make a bundle of finished trainings; tau and w are fitted on the calibration block."""
    from napari_pgrd.io.cases import choose, find_cases, read_split
    from napari_pgrd.train.pack import pack as make
    from napari_pgrd.train.pack import read_meta

    described, lists = read_meta(meta), read_split(split)
    calibration = choose(find_cases(data), lists["calibration"])
    sizes = {name: len(names) for name, names in lists.items()}
    made = make(prior, denoiser, calibration, sizes, described, out, device, tell, prior_probabilities)
    print(f"Wrote {made.spec.name} to {out}; now evaluate it, then run 'pgrd bundle card'")


@app.command()
def add(
    bundle: Given,
    training: Annotated[list[Path], Option(help="Folder of 'pgrd train --method'. Repeat.", show_default=False)],
    data: Annotated[Path, Option(help="The data of the trainings.", show_default=False)],
    split: Annotated[Path, Option(help="The split of the trainings.", show_default=False)],
    default: Annotated[bool, Option("--default", help="The last of them becomes the bundle's own method.")] = False,
    device: Annotated[str, Option(help="auto, cpu, cuda or mps.")] = "auto",
) -> None:
    """Give a bundle further methods; what has to be fitted to them is fitted on the calibration block."""
    from napari_pgrd.io.cases import choose, find_cases, read_split
    from napari_pgrd.train.add import add as put

    calibration = choose(find_cases(data), read_split(split)["calibration"])
    for folder in training:
        made = put(bundle, folder, calibration, device, tell, default)
    print(f"{made.spec.name} now offers {', '.join(made.spec.offered)}")


@app.command()
def card(
    bundle: Given,
    evaluation: Annotated[Path, Option(help="Report of 'pgrd evaluate'.", show_default=False)],
) -> None:
    """Attach an evaluation to a bundle: its numbers and reliability diagram, in bundle.json and the model card."""
    from napari_pgrd.engine.bundle import Bundle
    from napari_pgrd.train.card import card as write

    try:
        report = json.loads(evaluation.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{evaluation.name} is no readable JSON file. Give the report of 'pgrd evaluate'.") from error
    made = write(Bundle.load(bundle), report)
    drawn = made.spec.reliability is not None and made.spec.reliability.diagram is not None
    print(f"Wrote MODEL_CARD.md{', reliability.png' * drawn} and bundle.json of {made.spec.name}")
