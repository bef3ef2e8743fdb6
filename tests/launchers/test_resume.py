"""A cluster continues in another job when the walltime ends its own, on a real Slurm."""

import json

import pytest
from schedulers.login import run
from schedulers.slurm import gone

from mpidirect import Cluster, errors

pytestmark = [pytest.mark.slurm, pytest.mark.openmpi_only]

STEP = "n += 1"


def count(rc, enough):
    """Count on the engines until `enough`, whatever happens to their job; return the errors."""
    failures = []
    while not enough():
        try:
            rc[:].execute(STEP, block=True)
        except (errors.RemoteError, errors.NoEnginesRegistered) as e:
            failures.append(str(e))
            rc.wait_for_engines(2, timeout=60)
    return failures


def test_a_client_counts_over_the_end_of_its_job(slurm):
    cluster = Cluster(
        launcher="slurm", nodes=1, n=2, walltime="1m", resume=True, resume_before="30s", max_resumes=1
    )
    cluster.start()
    with cluster.connect_client() as rc:
        first = rc.engines_info[0]["pid"]
        rc[:].push({"data": list(range(10)), "n": 0}, block=True)
        unread = rc[:].apply_async(lambda: "kept")
        failures = count(rc, lambda: rc.ids and rc.engines_info[0]["pid"] != first)
        assert failures and "another job continues with the same namespaces" in failures[0]
        before = min(rc[:].pull("n", block=True))
        assert before > 1
        assert count(rc, lambda: min(rc[:].pull("n", block=True)) > before) == []
        assert rc[1].pull("data", block=True) == list(range(10))
        assert unread.get() == ["kept", "kept"]
        assert 0 < rc.time_left <= 60
        [row] = json.loads(run("status", "--json").stdout)
        assert (row["state"], row["ready"], row["resumes"]) == ("running", 2, "1 of 1")
    cluster.stop()
    assert gone(slurm, cluster)
    assert not cluster.profile.saved_directory(cluster.cluster).exists()
