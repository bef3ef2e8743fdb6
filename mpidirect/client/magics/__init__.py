"""IPython's magics."""
