#!/bin/bash
# qsub jobscripts/sge-cluster.sh
#
# A cluster for clients on the login node. Submit this script; then, on the login node:
#
#     mpidirect status --profile batch        # whether the cluster is ready
#     python -c 'import mpidirect; print(mpidirect.Client(profile="batch").ids)'
#     mpidirect stop --profile batch          # also ends this job
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

exec mpidirect start --foreground --profile batch
