"""Short runs of the soak; long ones are ``make soak`` and ``make soak-mpich``."""

from __future__ import annotations

import warnings

import pytest

from tests.soak.driver import Driver
from tests.soak.histories import histories, live
from tests.soak.testbed import Testbed

pytestmark = pytest.mark.filterwarnings("ignore")  # of connections that are down


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


@pytest.mark.proof
@pytest.mark.openmpi_only  # MPICH has the short soak; one MPI is enough for the long list
@pytest.mark.timeout(300)
def test_all_histories_of_two_events():
    bed = Testbed(3)
    bed.start()
    try:
        for events in histories(2):
            live(bed, events)
            assert not bed.lost and not bed.hangs, [each.__name__ for each in events]
        bed.stop()
    finally:
        bed.end()
    assert not bed.leftovers


def test_a_loss_is_told_with_a_program_that_repeats_it():
    driver = Driver(seed=1, n=2)
    driver.bed.lost.append("a result")
    driver.before_loss = [("push", 7), ("death", 8)]
    told = {}
    exec(driver.script().replace("from tests.soak.__main__ import replay", ""), {"replay": told.setdefault})
    assert told == {2: [("push", 7), ("death", 8)]}
