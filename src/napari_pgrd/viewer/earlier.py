"""The samples before an accepted resampling, kept until others are drawn: one step back, and forward again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.places import PlacesDesk

if TYPE_CHECKING:
    from napari_pgrd.engine.aggregate import Prediction
    from napari_pgrd.engine.request import Request


class EarlierSamples:
    """Two sets of samples of one image, of which one is shown; no correction is touched."""

    def __init__(self, desk: Desk, places: PlacesDesk) -> None:
        self.desk, self.places = desk, places
        self.newer = False  # whether the ones kept are those that were accepted
        self._kept: tuple[Prediction, Request, float] | None = None
        self._shown: Prediction | None = None
        desk.predicted.connect(self._predicted)

    @property
    def there(self) -> bool:
        """Whether there is something to go back to."""
        return self._kept is not None

    def replace(self, prediction: Prediction, request: Request, seconds: float) -> None:
        """Show other samples, and keep those that stand."""
        self.newer = False
        self._exchange(prediction, request, seconds)

    def swap(self) -> None:
        """Show the kept ones, and keep those that stand."""
        if self._kept is not None:
            self.newer = not self.newer
            self._exchange(*self._kept)

    def _exchange(self, prediction: Prediction, request: Request, seconds: float) -> None:
        desk, places = self.desk, self.places
        kept = None
        if desk.prediction is not None and desk.request is not None:
            kept = (desk.prediction, desk.request, desk.state.seconds)
        self._shown = prediction
        places.options, places.texts, places.option = (), (), 0  # answers of samples that leave
        desk.take(prediction, request, seconds)
        self._kept = kept

    def _predicted(self) -> None:
        """Samples of a new run: what was kept belongs to none of them."""
        if self.desk.prediction is not self._shown:
            self._kept, self._shown = None, None
