#!/bin/bash
# qsub jobscripts/sge-cluster.sh
#
# A cluster to attach to from the login node. Submit it, then there:
#
#     mpidirect status --profile batch        # is it ready?
#     python -c 'import mpidirect; print(mpidirect.Client(profile="batch").ids)'
#     mpidirect stop --profile batch          # ends this job too
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

exec mpidirect start --foreground --profile batch
