#!/bin/bash
# qsub jobscripts/sge-batch.sh
#
# A whole program without a person: a cluster starts on this job's tasks, script.py runs as its client
# (Client() in it finds this cluster), its output and its exit code are this job's, and all is stopped at
# the end.
#
# Each task is an engine; the controller, which sleeps nearly always, shares the first node with them.

# The job's name; errors go where the output goes:
#$ -N mpidirect
#$ -j y

# It starts where it is submitted, with the environment that it is submitted in:
#$ -S /bin/bash
#$ -cwd
#$ -V

# The parallel environment (qconf -spl lists them), and the number of engines:
#$ -pe mpi 4

# When the job ends at the latest, hours:minutes:seconds:
#$ -l h_rt=00:30:00

# What your site needs before Python: modules, an environment.
# module load python openmpi
# source ~/venv/bin/activate

exec mpidirect run script.py
