"""The files of profiles, clusters and jobs, and who may read and write them."""
