"""mpidirect beside ipyparallel and beside the floor (``python -m benchmarks``), and how it scales."""
