"""What of an export is written as DICOM: shown where the image came from DICOM, a sentence where it did not."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QGridLayout, QVBoxLayout, QWidget

from napari_pgrd.io.dicom.belonging import Ownership
from napari_pgrd.session.dicom import DicomParts
from napari_pgrd.viewer.widgets import faint

KINDS = (
    ("seg", "Segmentation", "Masks as a DICOM Segmentation (BINARY): what most programs read", True),
    ("rtstruct", "Contours", "Masks as an RT Structure Set: contours on the slices, for treatment planning", False),
    ("labelmap", "Label map", "Masks as a Segmentation of the newer kind LABELMAP, which few programs read", False),
    ("fractional", "Probabilities", "Of every label, as a FRACTIONAL Segmentation in steps of 1/255", False),
)  # fmt: skip


class DicomPanel(QWidget):
    """Kinds of objects, and what they say of people."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds = {key: self._box(f"dicom_{key}", text, tip, on) for key, text, tip, on in KINDS}
        self.deidentify = self._box(
            "deidentify",
            "De-identify the DICOM files",
            "DICOM files belong to the image's patient and study, and show up there. De-identified ones name nobody, "
            "and no longer lie on the image as it is stored",
            False,
        )
        self.creator = self._box(
            "dicom_creator",
            "Name the initials as creator",
            "Writes the initials below into the DICOM files; else nobody is named",
            False,
        )
        self.deidentify.toggled.connect(self._settle)
        self.none = faint("")
        self.none.setObjectName("no_dicom")
        self.parts = QWidget()
        grid = QGridLayout(self.parts)
        grid.setContentsMargins(0, 0, 0, 0)
        for index, box in enumerate(self.kinds.values()):
            grid.addWidget(box, index // 2, index % 2)
        grid.addWidget(self.deidentify, 2, 0, 1, 2)
        grid.addWidget(self.creator, 3, 0, 1, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 4)
        self.heading = faint("As DICOM, in the patient's study:")
        layout.addWidget(self.heading)
        layout.addWidget(self.parts)
        layout.addWidget(self.none)
        self.refresh("", False)

    def refresh(self, refusal: str, samples: bool) -> None:
        """Show what there is, or why DICOM cannot be; ``samples`` says whether there are any."""
        self.heading.setVisible(not refusal)
        self.parts.setVisible(not refusal)
        self.none.setText(refusal)
        self.none.setVisible(bool(refusal))
        self.kinds["fractional"].setEnabled(samples)
        self._settle()

    def chosen(self, initials: str) -> DicomParts:
        """What is ticked; ``initials`` are named only if that is ticked, too."""
        kinds = tuple(key for key, box in self.kinds.items() if box.isChecked())
        creator = initials if self.creator.isChecked() else ""
        return DicomParts(kinds, Ownership(self.deidentify.isChecked(), creator))

    def _settle(self) -> None:
        self.creator.setEnabled(not self.deidentify.isChecked())

    @staticmethod
    def _box(name: str, text: str, tip: str, on: bool) -> QCheckBox:
        box = QCheckBox(text)
        box.setObjectName(name)
        box.setToolTip(tip)
        box.setChecked(on)
        return box
