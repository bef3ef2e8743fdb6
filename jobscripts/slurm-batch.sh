#!/bin/bash
# sbatch jobscripts/slurm-batch.sh
#
# A batch job: a cluster starts on the tasks of this job, and script.py runs as its client (Client() in the
# script connects to this cluster). The script's output and exit code are those of this job. At the end the
# cluster stops.
#
# Each task is an engine; the controller, which sleeps nearly always, shares the first node with engines.

# The job's name, and where its output goes (%j is the job's number):
#SBATCH --job-name=mpidirect
#SBATCH --output=mpidirect-%j.out

# Nodes, and engines on each:
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2

# The walltime of the job, hours:minutes:seconds:
#SBATCH --time=00:30:00

# Further directives of a site; remove one # to use a line:
##SBATCH --cpus-per-task=4
##SBATCH --partition=short
##SBATCH --account=project

# Commands that your site needs before Python: modules, an environment.
# module load python openmpi
# source ~/venv/bin/activate

exec mpidirect run script.py
