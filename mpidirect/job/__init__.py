"""One MPI job: its ranks, the processes that belong to it, and what its scheduler tells them."""
