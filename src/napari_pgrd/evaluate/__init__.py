"""Metrics, calibration, comparison."""
