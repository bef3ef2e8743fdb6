#!/bin/bash
# qsub jobscripts/sge-batch.sh
#
# A batch job: a cluster starts on the tasks of this job, and script.py runs as its client (Client() in the
# script connects to this cluster). The script's output and exit code are those of this job. At the end the
# cluster stops.
#
# Each task is an engine; the controller, which sleeps nearly always, shares the first node with engines.

# The job's name; one file for output and errors:
#$ -N mpidirect
#$ -j y

# The job has the directory and the environment of its submission:
#$ -S /bin/bash
#$ -cwd
#$ -V

# The parallel environment (qconf -spl lists them), and the number of engines:
#$ -pe mpi 4

# The walltime of the job, hours:minutes:seconds:
#$ -l h_rt=00:30:00

# Commands that your site needs before Python: modules, an environment.
# module load python openmpi
# source ~/venv/bin/activate

exec mpidirect run script.py
