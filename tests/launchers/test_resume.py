"""A cluster continues in another job when the walltime ends its own, on a real Slurm and a faked PBS."""

import doctest
import json
import re

import pytest
from conftest import ROOT
from schedulers.faked import Scheduler
from schedulers.login import run
from schedulers.slurm import gone
from waiting import until

from mpidirect import Cluster

pytestmark = pytest.mark.openmpi_only

PAGE = ROOT / "docs" / "walltime.md"


def of_the_page():
    """Run the examples of the page at a prompt, and return the names that they set."""
    text = "\n".join(re.findall(r"^```pycon\n(.*?)^```", PAGE.read_text(), re.M | re.S))
    test = doctest.DocTestParser().get_doctest(text, {}, "page", None, 0)
    runner = doctest.DocTestRunner()
    assert test.examples and not runner.run(test, clear_globs=False).failed
    return test.globs


def start(launcher, monkeypatch):
    """Start a cluster whose job ends in a minute, and continues before."""
    monkeypatch.setenv("MPIDIRECT_WALLTIME", "1m")
    monkeypatch.setenv("MPIDIRECT_RESUME_BEFORE", "30s")
    started = run(
        "start", "-n", "2", "--nodes", "1", "--launcher", launcher, "--resume", "--max-resumes", "1"
    )
    assert started.returncode == 0, started.stderr


@pytest.mark.page
@pytest.mark.slurm
def test_a_client_counts_over_the_end_of_its_job(slurm, monkeypatch):
    start("slurm", monkeypatch)
    cluster, page = Cluster.from_profile(), of_the_page()
    count = page["count"]
    with page["rc"] as rc:
        first = rc.engines_info[0]["pid"]
        rc[:].push({"data": list(range(10))}, block=True)
        unread = rc[:].apply_async(lambda: "kept")
        failures = count(lambda: rc.ids and rc.engines_info[0]["pid"] != first)
        assert failures and "another job continues with the same namespaces" in str(failures[0])
        before = min(rc[:].pull("n", block=True))
        assert count(lambda: min(rc[:].pull("n", block=True)) > before) == []
        assert rc[1].pull("data", block=True) == list(range(10))
        assert unread.get() == ["kept", "kept"]
        assert 0 < rc.time_left <= 60
        [row] = json.loads(run("status", "--json").stdout)
        assert (row["state"], row["ready"], row["resumes"]) == ("running", 2, "1 of 1")
    cluster.stop()
    assert gone(slurm, cluster)
    assert not cluster.profile.saved_directory(cluster.cluster).exists()


def test_pbs_continues_a_cluster(login_node, monkeypatch):
    scheduler = Scheduler("pbs", login_node).enter(monkeypatch)
    try:
        start("pbs", monkeypatch)
        cluster = Cluster.from_profile()
        with cluster.connect_client() as rc:
            first = rc.engines_info[0]["pid"]
            rc[:].push({"n": 7}, block=True)
            until(lambda: cluster.job_id == "1.pbs1")
            assert scheduler.job("1.pbs1")["depend"] == "afterany:0.pbs1@pbs1"
            until(lambda: rc.ids and rc.engines_info[0]["pid"] != first)
            assert rc[:].pull("n", block=True) == [7, 7]
        assert run("stop").returncode == 0
        assert cluster.profile.clusters() == set()
    finally:
        scheduler.end()
