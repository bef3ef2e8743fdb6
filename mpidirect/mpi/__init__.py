"""MPI, as controller and engines share it."""
