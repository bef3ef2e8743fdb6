"""A cluster: its start, its state, its end, and what it leaves behind."""
