"""The parts of MPI that controller and engines share."""
