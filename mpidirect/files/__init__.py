"""The files of profiles, clusters and jobs, and the checks of their owners and permissions."""
