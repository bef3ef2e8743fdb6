#!/bin/bash
# qsub jobscripts/pbs-cluster.sh
#
# A cluster for clients on the login node. Submit this script; then, on the login node:
#
#     mpidirect status --profile batch        # whether the cluster is ready
#     python -c 'import mpidirect; print(mpidirect.Client(profile="batch").ids)'
#     mpidirect stop --profile batch          # also ends this job
#
# Each task is an engine; the controller, which sleeps nearly always, shares the first node with engines.

# The job's name; one file for output and errors:
#PBS -N mpidirect
#PBS -j oe

# 2 nodes, and on each 2 cores for 2 engines:
#PBS -l select=2:ncpus=2:mpiprocs=2:ompthreads=1

# The walltime of the job, hours:minutes:seconds:
#PBS -l walltime=00:30:00

# Further directives of a site; remove one # to use a line:
##PBS -q short
##PBS -A project

# Commands that your site needs before Python: modules, an environment.
# module load python openmpi
# source ~/venv/bin/activate

# The directory in which the job was submitted:
cd "$PBS_O_WORKDIR"

exec mpidirect start --foreground --profile batch
