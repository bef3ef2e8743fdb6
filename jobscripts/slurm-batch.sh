#!/bin/bash
# sbatch jobscripts/slurm-batch.sh
#
# A whole program without a person: a cluster starts on this job's tasks, script.py runs as its client
# (Client() in it finds this cluster), its output and its exit code are this job's, and all is stopped at
# the end.
#
# Each task is an engine; the controller, which sleeps nearly always, shares the first node with them.

# The job's name, and where its output goes (%j is the job's number):
#SBATCH --job-name=mpidirect
#SBATCH --output=mpidirect-%j.out

# Nodes, and engines on each:
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2

# When the job ends at the latest, hours:minutes:seconds:
#SBATCH --time=00:30:00

# What else a site may want; take one # away:
##SBATCH --cpus-per-task=4
##SBATCH --partition=short
##SBATCH --account=project

# What your site needs before Python: modules, an environment.
# module load python openmpi
# source ~/venv/bin/activate

exec mpidirect run script.py
