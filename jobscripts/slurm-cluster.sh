#!/bin/bash
# sbatch jobscripts/slurm-cluster.sh
#
# A cluster for clients on the login node. Submit this script; then, on the login node:
#
#     mpidirect status --profile batch        # whether the cluster is ready
#     python -c 'import mpidirect; print(mpidirect.Client(profile="batch").ids)'
#     mpidirect stop --profile batch          # also ends this job
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

exec mpidirect start --foreground --profile batch
