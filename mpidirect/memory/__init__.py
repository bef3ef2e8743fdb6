"""Memory: reading another process's memory, and reuse of buffers."""
