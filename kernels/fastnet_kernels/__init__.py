"""Kernels of the compiled backends: ``cpu`` for Numba, ``cuda`` for NVIDIA GPUs."""
