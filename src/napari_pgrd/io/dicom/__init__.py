"""DICOM: series in. What is read and what is refused: docs/dicom.md."""
