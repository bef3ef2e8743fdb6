"""Short runs of the soak; long ones are ``make soak`` and ``make soak-mpich``."""

from __future__ import annotations

import warnings

import pytest

from tests.soak.driver import Driver
from tests.soak.histories import RESTART, histories, walk
from tests.soak.history_run import HistoryRun
from tests.soak.testbed import Testbed

pytestmark = pytest.mark.filterwarnings("ignore")  # about connections that are down


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))


@pytest.mark.mpich_proof
@pytest.mark.timeout(300)
def test_a_short_soak():
    driver = Driver(seed=3, n=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        driver.run(200, events=30)
    print(driver.table())
    print(driver.script())
    assert driver.counts.total() > 10
    assert driver.well, [*driver.bed.lost, *driver.bed.hangs, *driver.bed.leftovers]


def events_after_starts(walked, length):
    """Return the events that follow each start of all engines."""
    starts = [0, *(k for k, event in enumerate(walked, 1) if event == RESTART)]
    return {tuple(walked[start : start + length]) for start in starts}


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("size", "length"), [(1, 5), (3, 3), (4, 4)])
def test_one_cluster_lives_through_all_histories(size, length, full):
    walked = list(walk(size, length, full))
    assert set(histories(size, length, full)) <= events_after_starts(walked, length)


@pytest.mark.proof
@pytest.mark.openmpi_only  # MPICH has the short soak; one MPI is enough for the long list
@pytest.mark.timeout(300)
def test_all_histories_of_two_events():
    bed = Testbed(3)
    bed.start()
    try:
        run = HistoryRun(bed)
        assert run.live(walk(3, 2, full=True)), [*bed.lost, *bed.hangs, run.script()]
        bed.stop()
    finally:
        bed.end()
    assert not bed.leftovers


def test_a_loss_is_reported_with_a_program_that_repeats_it():
    driver = Driver(seed=1, n=2)
    driver.bed.lost.append("a result")
    driver.before_loss = [("push", 7), ("death", 8)]
    told = {}
    exec(driver.script().replace("from tests.soak.__main__ import replay", ""), {"replay": told.setdefault})
    assert told == {2: [("push", 7), ("death", 8)]}
