"""A Jupyter kernel that is the job: each cell runs on all engines."""
