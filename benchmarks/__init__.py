"""Measurements of mpidirect, ipyparallel and the floor (``python -m benchmarks``), and of the scaling."""
