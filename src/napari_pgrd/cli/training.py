"""``pgrd train prior`` and ``pgrd train denoiser``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from napari_pgrd.cli.terminal import tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_pgrd.io.cases import CaseFiles
    from napari_pgrd.train.config import PriorTraining

app = typer.Typer(help="Train the two networks of a bundle, one after the other.", no_args_is_help=True)

Data = Annotated[Path, Option(help="imagesTr/ + labelsTr/ (nnU-Net), or images/ + labels/.", show_default=False)]
Out = Annotated[Path, Option(help="Folder of the training; one that was stopped goes on.", show_default=False)]
Config = Annotated[Path | None, Option(help="TOML file; see docs/training.md.")]
Split = Annotated[Path | None, Option(help="JSON with train, calibration and validation; default: by order of names.")]
LeaveOut = Annotated[str | None, Option(help="Leave out part K of N of the training cases, as K/N: see --out-of-fold.")]
Start = Annotated[str | None, Option(help="Begin with the weights of this bundle (name or folder) or training.")]
OutOfFold = Annotated[
    list[Path] | None,
    Option(help="Priors trained with --leave-out, which stand in for the prior on cases they have not seen. Repeat."),
]
Device = Annotated[str, Option(help="auto, cpu, cuda or mps.")]


@app.command()
def prior(
    data: Data,
    out: Out,
    config: Config = None,
    split: Split = None,
    start: Start = None,
    leave_out: LeaveOut = None,
    device: Device = "auto",
) -> None:
    """Train the prior and fit its temperature on the calibration block."""
    from napari_pgrd.engine.device import resolve
    from napari_pgrd.train.config import PriorTraining, read_config
    from napari_pgrd.train.prior import train_prior

    settings, place = read_config(config, PriorTraining), resolve(device)
    train, calibration = blocks(data, split, out)
    train = without(train, leave_out)
    train_prior(train, calibration, fit_to_data(settings, data, train), out, place, tell, start)


@app.command()
def denoiser(
    data: Data,
    out: Out,
    prior: Annotated[Path, Option(help="Training of the prior, or a bundle for its prior.", show_default=False)],
    config: Config = None,
    split: Split = None,
    start: Start = None,
    out_of_fold: OutOfFold = None,
    device: Device = "auto",
) -> None:
    """Train the denoiser around the frozen prior."""
    from napari_pgrd.engine.device import resolve
    from napari_pgrd.train.config import DenoiserTraining, read_config
    from napari_pgrd.train.denoiser import train_denoiser

    settings, place = read_config(config, DenoiserTraining), resolve(device)
    train, calibration = blocks(data, split, out)
    train_denoiser(train, calibration, settings, prior, out, place, tell, start, out_of_fold or [])


def blocks(data: Path, split: Path | None, out: Path) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """Training and calibration cases; a split made here is kept in the training's folder."""
    from napari_pgrd.io.cases import choose, contiguous_split, find_cases, read_split
    from napari_pgrd.io.nifti import write_atomically

    cases = find_cases(data)
    lists = read_split(split) if split else contiguous_split(cases)
    if split is None:
        text = json.dumps(lists, indent=1) + "\n"
        write_atomically(out / "split.json", lambda path: path.write_text(text, encoding="utf-8"))
    return choose(cases, lists["train"]), choose(cases, lists["calibration"])


def without(cases: list[CaseFiles], part: str | None) -> list[CaseFiles]:
    """The cases but every N-th from the K-th on, for ``K/N``; all of them for None."""
    from napari_pgrd.engine.errors import InputError, require

    if part is None:
        return cases
    first, _, last = part.partition("/")
    k, n = (int(x) if x.isdecimal() and len(x) < 6 else 0 for x in (first, last))
    require(
        1 <= k <= n and 2 <= n <= len(cases),
        InputError,
        f"--leave-out is {part!r}; give K/N, as 1/3, N from 2 to the {len(cases)} training cases, K from 1 to N.",
    )
    return [case for i, case in enumerate(cases) if i % n != k - 1]


def fit_to_data(settings: PriorTraining, data: Path, cases: Sequence[CaseFiles]) -> PriorTraining:
    """Fill in what the configuration leaves open: names from ``dataset.json``, numbers of classes and channels."""
    from napari_pgrd.io.cases import label_names

    named = None if "labels" in settings.model_fields_set else label_names(data)
    labels = named or settings.labels
    found = {"classes": len(labels), "channels": len(cases[0].images) if cases else 1}
    network = settings.network.model_copy(
        update={k: v for k, v in found.items() if k not in settings.network.model_fields_set}
    )
    return settings.model_copy(update={"labels": labels, "network": network})
