"""Objects, functions and modules as bytes."""
