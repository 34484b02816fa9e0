"""Loops over rows that need a compiler: `reference` is the plain truth, `cpu` the same compiled by Numba."""
