#!/bin/bash
# sbatch jobscripts/slurm-cluster.sh
#
# A cluster to attach to from the login node. Submit it, then there:
#
#     mpidirect status --profile batch        # is it ready?
#     python -c 'import mpidirect; print(mpidirect.Client(profile="batch").ids)'
#     mpidirect stop --profile batch          # ends this job too
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

exec mpidirect start --foreground --profile batch
