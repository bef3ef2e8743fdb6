"""What a rank of a job is: the controller, an anchor or an engine. Imported after MPI is initialized."""
