"""Computation: torch, MONAI, numpy, safetensors and pydantic; no window, no file formats."""
