"""``pgrd bundle schema`` and ``pgrd bundle import-nnunet``: bundles that were not made by our trainings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from napari_pgrd.cli.terminal import tell

Nn = Annotated[
    Path, Argument(help="nnU-Net's folder of a training: plans.json, dataset.json, fold_0.", show_default=False)
]


def schema() -> None:
    """Print the JSON schema of bundle.json; see docs/bundle.md."""
    from napari_pgrd.engine.bundle_schema import bundle_schema

    print(json.dumps(bundle_schema(), indent=1))


def import_nnunet(
    folder: Nn,
    out: Annotated[Path, Option(help="Folder of the new bundle.", show_default=False)],
    fold: Annotated[str | None, Option(help="Which fold, where there are several.")] = None,
    checkpoint: Annotated[str, Option(help="File of the weights in the fold's folder.")] = "checkpoint_final.pth",
    orientation: Annotated[
        str | None, Option(help="How its training images are stored, as RAS; default: as in the fold's validation/.")
    ] = None,
    name: Annotated[str | None, Option(help="Of the bundle; default: its folder's.")] = None,
) -> None:
    """Make a bundle whose prior is a network trained by nnU-Net v2; see docs/bundle.md."""
    from napari_pgrd.train.nnunet import import_nnunet as make

    made = make(folder, out, fold, checkpoint, orientation, name, tell)
    print(
        f"Wrote {made.spec.name} to {out}: a prior without a denoiser. Give bundle.json its words and the model card "
        "its licence; 'pgrd train denoiser --prior' trains what is missing."
    )
