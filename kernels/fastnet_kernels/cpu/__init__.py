"""Numba kernels, one file per family of ops; names and arguments are those of the ops contract."""
