#!/bin/bash
# qsub jobscripts/pbs-batch.sh
#
# A whole program without a person: a cluster starts on this job's tasks, script.py runs as its client
# (Client() in it finds this cluster), its output and its exit code are this job's, and all is stopped at
# the end.
#
# Each task is an engine; the controller, which sleeps nearly always, shares the first node with them.

# The job's name; errors go where the output goes:
#PBS -N mpidirect
#PBS -j oe

# 2 nodes, and on each 2 cores for 2 engines:
#PBS -l select=2:ncpus=2:mpiprocs=2:ompthreads=1

# When the job ends at the latest, hours:minutes:seconds:
#PBS -l walltime=00:30:00

# What else a site may want; take one # away:
##PBS -q short
##PBS -A project

# What your site needs before Python: modules, an environment.
# module load python openmpi
# source ~/venv/bin/activate

# The directory that it was submitted from:
cd "$PBS_O_WORKDIR"

exec mpidirect run script.py
