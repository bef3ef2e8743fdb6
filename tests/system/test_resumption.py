"""A session lasts longer than its jobs, on a real Slurm of several hosts: walltimes of a minute."""

from __future__ import annotations

import time

import pytest
from schedulers.slurm import SLURM, gone
from waiting import until

from mpidirect import Cluster, errors

pytestmark = [pytest.mark.slurm, pytest.mark.openmpi_only, pytest.mark.proof, pytest.mark.timeout(600)]

ENGINES = 4
JOBS = 3  # number of jobs that continue the first one


def test_a_loop_counts_over_three_walltimes(hosts):
    cluster = Cluster(
        resume=True,
        walltime="1m",
        resume_before="30s",
        max_resumes=JOBS,
        shutdown_atexit=False,
        **SLURM,
    )
    with cluster.start().connect_client() as rc:
        rc[:]["n"] = 0
        controllers, counted, failed = {rc.facts["pid"]}, 0, 0
        while len(controllers) <= JOBS:
            try:
                rc[:].execute("n += 1", block=True)
                counted += 1
            except (errors.RemoteError, errors.NoEnginesRegistered):
                failed += 1
                rc.wait_for_engines(ENGINES)
                controllers.add(rc.facts["pid"])
            time.sleep(0.01)  # so that the log of calls stays short
        assert cluster.resumes == f"{JOBS} of {JOBS}" and failed >= JOBS
        for n in rc[:].pull("n", block=True):  # an interrupted step may have counted
            assert counted <= n <= counted + failed
    cluster.stop()
    assert gone(hosts, cluster)


def test_a_walltime_that_is_made_shorter_brings_the_save_forward(hosts):
    cluster = Cluster(resume=True, walltime="10m", resume_before="20s", shutdown_atexit=False, **SLURM)
    with cluster.start().connect_client() as rc:
        rc[:].scatter("n", range(ENGINES), block=True)
        process = rc.facts["pid"]
        hosts.ask("scontrol", "update", f"JobId={cluster.job_id}", "EndTime=now+40")
        until(lambda: rc.ids and rc.facts["pid"] != process, 120)
        assert rc[:].gather("n", block=True) == list(range(ENGINES))
    cluster.stop()
    assert gone(hosts, cluster)


def test_a_cluster_that_another_job_preempts_continues_later(hosts):
    cluster = Cluster(
        2, launcher="slurm", nodes=1, resume=True, walltime="10m", resume_before="20s", shutdown_atexit=False
    )
    hosts.ask("scontrol", "update", "PartitionName=main", "GraceTime=60")
    try:
        with cluster.start().connect_client() as rc:
            rc[:].push({"n": 7}, block=True)
            process = rc.facts["pid"]
            urgent = ("--partition=urgent", "--nodes=3", "--exclusive", "--output=/dev/null")
            hosts.ask("sbatch", *urgent, "--wrap", "sleep 10")
            until(lambda: rc.ids and rc.facts["pid"] != process, 200)
            assert rc[:].pull("n", block=True) == [7, 7]
    finally:
        hosts.ask("scontrol", "update", "PartitionName=main", "GraceTime=0")
    cluster.stop()
    assert gone(hosts, cluster)
