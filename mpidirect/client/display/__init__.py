"""The display of output and results at a prompt and in a notebook."""
