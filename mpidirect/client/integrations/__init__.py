"""Other libraries that can run their tasks on engines."""
