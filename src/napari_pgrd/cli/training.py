"""``pgrd train prior``, ``pgrd train denoiser`` and ``pgrd train --method NAME``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from typer import Option

from napari_pgrd.cli.terminal import tell
from napari_pgrd.engine.methods import METHODS

if TYPE_CHECKING:
    from napari_pgrd.io.cases import CaseFiles

app = typer.Typer(no_args_is_help=True)

DATA = "imagesTr/ + labelsTr/ (nnU-Net), or images/ + labels/."
OUT = "Folder of the training; one that was stopped goes on."
Data = Annotated[Path, Option(help=DATA, show_default=False)]
Out = Annotated[Path, Option(help=OUT, show_default=False)]
Config = Annotated[Path | None, Option(help="TOML file; see docs/training.md.")]
Split = Annotated[Path | None, Option(help="JSON with train, calibration and validation; default: by order of names.")]
LeaveOut = Annotated[str | None, Option(help="Leave out part K of N of the training cases, as K/N: see --out-of-fold.")]
Start = Annotated[str | None, Option(help="Begin with the weights of this bundle (name or folder) or training.")]
OutOfFold = Annotated[
    list[Path] | None,
    Option(help="Priors trained with --leave-out, which stand in for the prior on cases they have not seen. Repeat."),
]
Maps = Annotated[
    Path | None, Option(help="In place of --prior: a folder of another model's maps, CASE.nii.gz of x, y, z and class.")
]
Device = Annotated[str, Option(help="auto, cpu, cuda or mps.")]
Processes = Annotated[int, Option(help="Train in so many processes on this machine: a GPU or a part of the CPU each.")]


@app.callback(invoke_without_command=True)
def method(
    ctx: typer.Context,
    method: Annotated[str | None, Option(help=f"What to train for: {', '.join(METHODS)}.")] = None,
    data: Annotated[Path | None, Option(help=DATA)] = None,
    out: Annotated[Path | None, Option(help=OUT)] = None,
    prior: Annotated[Path | None, Option(help="For methods trained around a prior: its training, or a bundle.")] = None,
    config: Config = None,
    split: Split = None,
    start: Start = None,
    device: Device = "auto",
) -> None:
    """Train the two networks of a bundle, one after the other, or with --method those of any method."""
    from napari_pgrd.engine.errors import InputError, require

    given = [value for value in (method, data, out, prior, config, split, start) if value is not None]
    if ctx.invoked_subcommand is not None:
        require(
            not given,
            InputError,
            f"--method and its options stand without {ctx.invoked_subcommand!r}; options of {ctx.invoked_subcommand!r} "
            "follow it. Give one or the other.",
        )
        return
    if method is None or data is None or out is None:
        raise InputError("Training by --method needs --method, --data and --out. Give all three.")
    from napari_pgrd.engine.device import resolve
    from napari_pgrd.train.methods import Job, known, train_method

    require(
        int(os.environ.get("WORLD_SIZE", "1")) == 1,
        InputError,
        "Training by --method takes one process. Start it without torchrun or accelerate launch.",
    )
    known(method)  # before a split is written
    place = resolve(device)
    train, calibration = blocks(data, split, out)
    train_method(Job(method, train, calibration, data, out, place, tell, config, prior, start))


@app.command()
def prior(
    data: Data,
    out: Out,
    config: Config = None,
    split: Split = None,
    start: Start = None,
    leave_out: LeaveOut = None,
    device: Device = "auto",
    processes: Processes = 1,
) -> None:
    """Train the prior and fit its temperature on the calibration block."""
    if processes != 1:
        in_processes(processes)
    from napari_pgrd.train.config import PriorTraining, read_config
    from napari_pgrd.train.methods import fit_to_data
    from napari_pgrd.train.prior import train_prior
    from napari_pgrd.train.processes import joined

    settings = read_config(config, PriorTraining)
    with joined(device) as place:
        train, calibration = blocks(data, split, out)
        train = without(train, leave_out)
        train_prior(train, calibration, fit_to_data(settings, data, train), out, place, tell, start)


@app.command()
def denoiser(
    data: Data,
    out: Out,
    prior: Annotated[Path | None, Option(help="Training of the prior, or a bundle for its prior.")] = None,
    prior_probabilities: Maps = None,
    config: Config = None,
    split: Split = None,
    start: Start = None,
    out_of_fold: OutOfFold = None,
    device: Device = "auto",
    processes: Processes = 1,
) -> None:
    """Train the denoiser around the frozen prior, or around another model's maps of probabilities."""
    if processes != 1:
        in_processes(processes)
    from napari_pgrd.io.cases import label_names
    from napari_pgrd.train.config import DenoiserTraining, read_config
    from napari_pgrd.train.denoiser import train_denoiser
    from napari_pgrd.train.processes import joined

    settings, maps = read_config(config, DenoiserTraining), prior_probabilities
    if maps is not None and settings.labels is None:
        settings = settings.model_copy(update={"labels": label_names(data)})
    with joined(device) as place:
        train, calibration = blocks(data, split, out)
        train_denoiser(train, calibration, settings, prior, out, place, tell, start, out_of_fold or [], maps=maps)


def in_processes(processes: int) -> NoReturn:
    """Run this very command in several processes, and leave as it leaves."""
    from napari_pgrd.train.processes import start as begin

    words = iter(sys.argv[1:])
    kept: list[str] = []
    for word in words:
        if word == "--processes":
            next(words, None)
        elif not word.startswith("--processes="):
            kept.append(word)
    raise typer.Exit(begin(processes, kept))


def blocks(data: Path, split: Path | None, out: Path) -> tuple[list[CaseFiles], list[CaseFiles]]:
    """Training and calibration cases; a split made here is kept in the training's folder."""
    from napari_pgrd.io.cases import choose, contiguous_split, find_cases, read_split
    from napari_pgrd.io.nifti import write_atomically
    from napari_pgrd.train.processes import share

    cases = find_cases(data)
    lists = read_split(split) if split else contiguous_split(cases)
    if split is None and share().first:
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
