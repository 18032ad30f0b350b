"""Whether the image is one for the model, said before anything runs; where it is not, what would help."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from napari_pgrd.engine.errors import PgrdError
from napari_pgrd.engine.given import no_prior
from napari_pgrd.engine.scope import ScopeError, check_scope, middle_sentence, suggest_box
from napari_pgrd.engine.spec import read_spec
from napari_pgrd.engine.volume import Box
from napari_pgrd.session.display import Display, first_plane, taken_plane
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer.box import BoxTool
from napari_pgrd.viewer.reader import MODEL

if TYPE_CHECKING:
    from napari_pgrd.viewer.desk import Desk


class Fit:
    """Judges image and model together; offers a box to drag, or another model that is there."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.box: BoxTool | None = None
        desk.state.events.box.connect(self._box_changed)

    def check(self) -> None:
        """Say at once whether this image is one for this model."""
        s, spec = self.desk.state, self.desk.spec
        if s.phase is Phase.EMPTY:
            s.sentence = no_prior(spec.name) if spec is not None and spec.prior is None else ""
        elif self._judge():
            s.sentence = s.unfit or self.narrow
            if s.unfit and s.offered:
                s.sentence = f"{s.unfit} {Path(s.offered).name} takes it as it is."

    def hush(self) -> None:
        """Say no more of a run whose samples are there."""
        s = self.desk.state
        if s.sentence in (s.unfit, self.narrow):
            s.sentence = ""

    def forget(self) -> None:
        """Say nothing of an image that is the case no longer."""
        s = self.desk.state
        s.sentence, s.unfit, s.box_offered, s.offered = "", "", False, ""

    def _judge(self) -> bool:
        """Whether there is something to judge; what was found stands in the state."""
        desk, s = self.desk, self.desk.state
        if desk.volume is None or desk.spec is None:
            return False
        try:
            if desk.spec.prior is None:
                raise ScopeError(no_prior(desk.spec.name))
            check_scope(desk.volume, desk.spec, s.box)
        except ScopeError as error:
            s.box_offered, s.offered, s.unfit = error.box is not None, self._other(), str(error)
        else:
            s.box_offered, s.offered, s.unfit = bool(self.narrow), "", ""
        return True

    @property
    def narrow(self) -> str:
        """What to say, before samples are drawn, where the networks do not see all of the image; "" where they do."""
        desk = self.desk
        return middle_sentence(desk.volume, desk.spec, desk.state.box) if desk.volume and desk.spec else ""

    @property
    def plane(self) -> str:
        """The plane to begin in: the model's own on an image for it, else that of the image's slices."""
        volume, spec, s = self.desk.volume, self.desk.spec, self.desk.state
        assert volume is not None
        if spec is None or (s.unfit and not s.box_offered):
            return taken_plane(volume)
        return first_plane(volume, spec.scope.start_plane)

    # ---- another model

    @property
    def meant(self) -> str:
        """The model, of those that are there, that a sample case says it is for; "" if it says none."""
        image = self.desk.image
        wanted = image.metadata.get(MODEL) if image is not None else None
        return next((b for b in self.desk.bundles if wanted and self._name(b) == wanted), "")

    def take_meant(self) -> str:
        """Choose that model; the sentence to say if it is another than before, once the image was checked."""
        where = self.meant
        if not where or where == self.desk.state.bundle:
            return ""
        self.desk.try_bundle(where)
        return f"{Path(where).name} was chosen: it is the model for this case."

    def use_offered(self) -> None:
        """Choose the model that takes the image as it is."""
        if self.desk.state.offered:
            self.desk.try_bundle(self.desk.state.offered)

    def _other(self) -> str:
        volume = self.desk.volume
        assert volume is not None
        for where in self.desk.bundles:
            if where != self.desk.state.bundle:
                with suppress(PgrdError):
                    spec = read_spec(where)
                    check_scope(volume, spec)
                    if spec.prior is None:
                        continue
                    # Grey slices without a size are what a model without spacing is for; grey scans with one are not.
                    if spec.prepare.spacing is not None or not volume.spacing_known:
                        return where
        return ""

    @staticmethod
    def _name(where: str) -> str:
        try:
            return read_spec(where).name
        except PgrdError:
            return ""

    # ---- a box

    def place_box(self) -> None:
        """Put a box of the bundle's size on the image for the reader to drag."""
        desk = self.desk
        if desk.volume is None or desk.spec is None:
            return
        self.remove_box()
        box = suggest_box(desk.volume, desk.spec)
        if box is None:
            return
        self.box = BoxTool(desk.layers, desk.volume, Display.of(desk.volume), box, self._box_moved)
        desk.state.box = self.box.box
        if not desk.state.unfit:
            desk.state.sentence = (
                "Drag the orange box so that the structure lies inside; its depth is centred on the slice "
                "where you drop it. Then press Sample."
            )

    def remove_box(self) -> None:
        """Take the box off the screen."""
        if self.box is not None:
            self.box.close()
            self.box = None
        self.desk.state.box = None

    def layers_changed(self) -> None:
        """The reader may have removed the box's layer."""
        if self.box is not None and self.box.layer not in self.desk.viewer.layers:
            self.remove_box()
            self.check()

    def _box_moved(self, box: Box) -> None:
        self.desk.state.box = box

    def _box_changed(self) -> None:
        s = self.desk.state
        before = s.unfit
        if self._judge():
            if s.unfit:
                s.sentence = s.unfit
            elif before and s.sentence.startswith(before):
                s.sentence = ""
