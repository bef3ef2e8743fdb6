"""The roles of the ranks of a job: controller, anchor and engine. Imported after MPI is initialized."""
