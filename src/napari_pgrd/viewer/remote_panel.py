"""Where samples are drawn: on this computer, or on the workers of a dask scheduler."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QFormLayout, QLineEdit, QWidget

from napari_pgrd.cluster.address import Where
from napari_pgrd.engine.errors import InputError
from napari_pgrd.session.state import Phase
from napari_pgrd.viewer.desk import Desk
from napari_pgrd.viewer.widgets import note


class RemotePanel(QWidget):
    """An address, and a tick without which no image leaves unencrypted."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.address = QLineEdit()
        self.address.setObjectName("cluster")
        self.address.setPlaceholderText("this computer")
        self.address.setToolTip(
            "A dask scheduler whose workers draw the samples, as tls://host:8786, or tcp://localhost:8786 through an "
            "SSH tunnel. Empty: this computer"
        )
        self.address.textEdited.connect(self._typed)
        self.insecure = QCheckBox("Allow it unencrypted")
        self.insecure.setObjectName("insecure")
        self.insecure.setToolTip(
            "Images can then be read on the way, and whoever answers at that address can run code on this computer"
        )
        self.insecure.toggled.connect(lambda on: setattr(desk.state, "insecure", on))
        self.said = note(ink="warning")
        self.said.setObjectName("cluster_said")
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.addRow("Draw at", self.address)
        form.addRow(self.insecure)
        form.addRow(self.said)
        desk.state.events.connect(self.refresh)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is, and why an address will not do."""
        s = self.desk.state
        if self.address.text().strip() != s.cluster:
            self.address.setText(s.cluster)
        free = s.phase is not Phase.RUNNING
        for widget in (self.address, self.insecure):
            widget.setEnabled(free)
        sentence = "" if self.address.hasFocus() and not _complete(s.cluster) else _refusal(s.cluster, s.insecure)
        self.said.setText(sentence)
        self.said.setVisible(bool(sentence))
        self.insecure.setVisible(_complete(s.cluster) and bool(_refusal(s.cluster, insecure=False)))
        self.insecure.setChecked(s.insecure)

    def _typed(self, text: str) -> None:
        self.desk.state.insecure = False  # it was allowed for another address
        self.desk.state.cluster = text.strip()


def sent_sentence(cluster: str, insecure: bool) -> str:
    """What leaves this computer; empty if nothing does."""
    if not cluster or _refusal(cluster, insecure):
        return ""
    return f"Drawn at {cluster}: the voxels go there, and the model if it is lacking; no name, no header."


def _complete(cluster: str) -> bool:
    """Whether an address can be understood, whether or not it may be used."""
    return bool(cluster) and not _refusal(cluster, insecure=True)


def _refusal(cluster: str, insecure: bool) -> str:
    try:
        if cluster:
            Where(cluster, insecure)
    except InputError as error:
        return str(error)
    return ""
