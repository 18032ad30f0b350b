"""The samples beside the truth of this very case, where the reader has it as label layers: one, or one a rater."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
from psygnal import Signal

from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.evaluate.definitions import DEFINITIONS
from napari_pgrd.io.masks import place_mask
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.mask_start import MaskStart
from napari_pgrd.viewer.theme import FAINT_INK

if TYPE_CHECKING:
    from napari.layers import Labels

    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.evaluate.case import CaseComparison

JOB = "truth"
RATED = {
    "ged2": "GED²",
    "hm_iou": "HM-IoU",
    "diversity": "diversity of samples",
    "rater_diversity": "diversity of raters",
}
SHOWN = {
    "nll": "NLL, nats",
    "ece": "ECE, whole image",
    "ece_roi": "ECE, near borders",
    **RATED,
    "auroc_entropy_error": "AUROC, entropy finds errors",
}
HINT = (
    "Open the true label map, or one of each rater, as a layer, tick it and press Compare. "
    "Several are several opinions: Dice is then against what at least half of them marked."
)


class Truths:
    """Which label layers are the truth, and what the comparison says; nothing is changed by it."""

    changed = Signal()

    def __init__(self, desk: Desk, masks: MaskStart) -> None:
        self.desk, self.masks = desk, masks
        self.ticked: set[str] = set()
        self.found: CaseComparison | None = None
        self.sentence = ""
        self.busy = False
        self._of: Prediction | None = None  # what is being or was compared
        desk.predicted.connect(self._predicted)
        desk.state.events.phase.connect(self._emit)
        masks.changed.connect(self._layers_changed)

    @property
    def can(self) -> bool:
        """Whether there is something to compare, and something to compare it with."""
        p = self.desk.prediction
        ready = self.desk.state.phase is Phase.REVIEWING and p is not None and p.samples > 0
        return ready and bool(self.ticked) and not self.busy

    def sources(self) -> list[tuple[str, str]]:
        """The reader's own label layers, ``(value, name)``, newest first."""
        return [(value, text.removeprefix("Layer ")) for value, text in self.masks.sources()]

    def opinions(self) -> list[Labels]:
        """The ticked layers, or all of the reader's own while none is ticked, lowest first."""
        own = [layer for layer in self.masks.layers() if layer.ndim == 3 and not layer.multiscale]
        ticked = [layer for layer in own if str(layer.unique_id) in self.ticked]
        return ticked or own

    def tick(self, value: str, on: bool) -> None:
        """Take a layer as truth, or no longer."""
        (self.ticked.add if on else self.ticked.discard)(value)
        self._forget()

    def compare(self) -> None:
        """Compare the samples with the ticked layers as they are now."""
        p, spec, volume, request = self.desk.prediction, self.desk.spec, self.desk.volume, self.desk.request
        if not self.can or p is None or spec is None or volume is None:
            return
        index = np.zeros(256, np.uint8)  # of the class with each label value
        index[spec.values] = np.arange(len(spec.values))
        box = request.box if request is not None else None
        try:
            contents = [self.masks.content(value) for value, _ in self.sources() if value in self.ticked]
        except PgrdError as error:
            self._say(str(error))
            return

        def work() -> CaseComparison | str:
            from napari_pgrd.evaluate.case import compare_case  # scipy's statistics, which no window needs to open

            try:
                taken = [place_mask(labels, affine, volume, spec, box, name) for name, labels, affine in contents]
                return compare_case(p, index[np.stack([mask.values for mask in taken])], spec)
            except PgrdError as error:
                return str(error)

        self.found, self.busy, self._of = None, True, p
        self._say("Comparing ...")
        self.desk.layers.turns.after(JOB, work, self._done)

    def text(self) -> str:
        """The numbers as rich text; "" before there are any."""
        found = self.found
        if found is None:
            return ""
        first = RATED if found.raters > 1 else {}  # with several opinions, how the samples meet all of them
        keys = [*first, "dice", *(key for key in SHOWN if key not in first)]
        rows = [row for key in keys for row in self._rows(found, key)]
        cells = "".join(
            f'<tr><td style="padding-right:10px">{escape(title)}</td><td align="right"><b>{value:.4f}</b></td></tr>'
            for title, value in rows
        )
        raters = "one truth" if found.raters == 1 else f"{found.raters} raters"
        samples = f"{found.samples} sample{'s' * (found.samples != 1)}"
        ink = f'style="color:{FAINT_INK}"'
        return f"<span {ink}>{samples} against {raters}, this case alone</span><table>{cells}</table>"

    @staticmethod
    def _rows(found: CaseComparison, key: str) -> list[tuple[str, float]]:
        if key == "dice":
            return [(f"Dice, {name}", value) for name, value in found.dice.items()]
        value = found.numbers.get(key)
        return [(SHOWN[key], value)] if value is not None else []

    @staticmethod
    def definitions() -> str:
        """What each number means, for a tooltip."""
        keys = ["dice", *SHOWN, "several_raters"]
        names = {"dice": "Dice", "several_raters": "Several raters", **SHOWN}
        parts = (f"<p><b>{escape(names[key])}</b>: {escape(DEFINITIONS[key])}</p>" for key in keys)
        return f"<div>{''.join(parts)}</div>"

    # ---- inside

    def _done(self, result: CaseComparison | str) -> None:
        self.busy = False
        if self._of is not self.desk.prediction:
            self._forget()
        elif isinstance(result, str):
            self._say(result)
        else:
            self.found = result
            self._say("")

    def _predicted(self) -> None:
        """Numbers go with the samples they were computed from."""
        if self._of is not None and self.desk.prediction is not self._of:
            self._forget()
        else:
            self._emit()

    def _layers_changed(self) -> None:
        gone = self.ticked - {value for value, _ in self.masks.sources()}
        if gone:
            self.ticked -= gone
            self._forget()
        else:
            self._emit()

    def _forget(self) -> None:
        if self.busy:
            self.desk.layers.turns.drop(JOB)
        self.found, self.busy, self._of = None, False, None
        self._say("")

    def _say(self, text: str) -> None:
        self.sentence = text
        self.changed.emit()

    def _emit(self, *_: object) -> None:
        self.changed.emit()
