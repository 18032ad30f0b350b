"""DICOM: series and Segmentations in, Segmentations and contours out; what is refused, and why: docs/dicom.md."""
