"""Families of answers, where the samples fall into some: look at all samples, or at one family's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_pgrd.session.hypotheses import Part, families_sentence, family_sentence, part_of
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.places import PlacesDesk
from napari_pgrd.viewer.views import Views

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction

ALL = "0"
JOB = "family"


class Families:
    """Chooses the samples that lines, outlines and the sample browser show; nothing else follows."""

    changed = Signal()

    def __init__(self, desk: Desk, views: Views, places: PlacesDesk) -> None:
        self.desk, self.views, self.places = desk, views, places
        self.chosen = ALL
        self.sentence = ""  # of the family on the screen
        self._of: Prediction | None = None
        desk.predicted.connect(self._predicted)
        places.changed.connect(self._predicted)

    def items(self) -> list[tuple[str, str]]:
        """``(value, text)`` of what may be looked at; empty where there is one family."""
        found = self.places.families
        if not found:
            return []
        each = [(str(i), f"family {i} ({len(family.members)})") for i, family in enumerate(found, 1)]
        return [(ALL, "all samples"), *each]

    def overview(self) -> str:
        """How many families there are; "" before they were looked for."""
        found, p = self.places.families, self.desk.prediction
        return "" if found is None or p is None else families_sentence(found, p.samples)

    def choose(self, value: str) -> None:
        """Look at one family, or at all samples."""
        found, p, volume, spec = self.places.families, self.desk.prediction, self.desk.volume, self.desk.spec
        if not found or p is None or volume is None or spec is None or value not in dict(self.items()):
            return
        self.chosen, self._of = value, None if value == ALL else p
        turns = self.desk.layers.turns
        turns.drop(JOB)
        if value == ALL:
            self._show(None, "")
            return
        number = int(value)

        def find() -> tuple[Part, str]:
            part = part_of(p, found[number - 1].members)
            return part, family_sentence(found, number, part, volume, spec.labels)

        turns.after(JOB, find, lambda result: self._show(*result))
        self.changed.emit()

    def _show(self, part: Part | None, sentence: str) -> None:
        self.sentence = sentence
        self.views.choose_part(part)
        self.changed.emit()

    def _predicted(self) -> None:
        """A family goes with its samples."""
        if self.chosen != ALL and self.desk.prediction is not self._of:
            self.desk.layers.turns.drop(JOB)
            self.chosen, self.sentence, self._of = ALL, "", None
            self.desk.layers.part = None
        self.changed.emit()
