"""What a process learns of its scheduler's job from the environment."""

import pytest

from mpidirect.job import allocation

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI

SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "2"}
JOBS = {
    "tasks": ({**SLURM, "SLURM_NTASKS": "5", "SLURM_JOB_CPUS_PER_NODE": "2(x2)"}, 5),
    "cores": ({**SLURM, "SLURM_NTASKS": "2", "SLURM_JOB_CPUS_PER_NODE": "8(x2),4"}, 20),
    "grid engine": ({"JOB_ID": "7", "SGE_ROOT": "/sge", "NSLOTS": "6", "NHOSTS": "2"}, 6),
    "one host": ({**SLURM, "SLURM_JOB_NUM_NODES": "1", "SLURM_NTASKS": "5"}, 0),
    "no job": ({}, 0),
}


@pytest.mark.parametrize(("environment", "room"), JOBS.values(), ids=JOBS)
def test_the_most_engines_that_a_job_holds(monkeypatch, environment, room):
    """A step, in which the controller may be, has other numbers of tasks than the job."""
    for name in ("SLURM_JOB_ID", "PBS_JOBID", "JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert allocation.room() == room
