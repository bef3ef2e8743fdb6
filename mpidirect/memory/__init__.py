"""Memory of processes: read directly, and used again."""
