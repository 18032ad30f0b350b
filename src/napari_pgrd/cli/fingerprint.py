"""``pgrd fingerprint``."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from napari_pgrd.cli.terminal import shown, tell
from napari_pgrd.cli.training import Config, Data, Device, Out, Split, blocks

if TYPE_CHECKING:
    from pathlib import Path

    from napari_pgrd.train.config import FingerprintTraining


def fingerprint(data: Data, out: Out, config: Config = None, split: Split = None, device: Device = "auto") -> None:
    """Measure at which noise the masks of a data set stop being legible, to weight the times of a training by."""
    from napari_pgrd.engine.device import resolve
    from napari_pgrd.train.config import FingerprintTraining, read_config
    from napari_pgrd.train.fingerprint import make_fingerprint

    settings, place = named(read_config(config, FingerprintTraining), data), resolve(device)
    train, calibration = blocks(data, split, out)
    words = ["pgrd", "fingerprint", "--data", "DIR"]
    for option, value in (("--config", config), ("--split", split), ("--out", out)):
        words += [option, shown(value)] if value else []
    written = make_fingerprint(train, calibration, settings, out, place, tell, shlex.join(words))
    print(f"The fingerprint is {written}, its picture {written.with_suffix('.png')}")


def named(settings: FingerprintTraining, data: Path) -> FingerprintTraining:
    """Labels from ``dataset.json`` where the configuration names none."""
    from napari_pgrd.io.cases import label_names

    found = None if "labels" in settings.model_fields_set else label_names(data)
    return settings.model_copy(update={"labels": found}) if found else settings
