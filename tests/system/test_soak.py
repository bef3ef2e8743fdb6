"""A short run of the soak test; a long one is ``make soak``."""

from __future__ import annotations

import warnings

import pytest

from tests.soak import Driver


@pytest.mark.timeout(100)
def test_a_short_soak(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    driver = Driver(seed=3, n=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of connections that are down
        driver.run(12)
    print(driver.table())
    assert driver.operations.total() > 20
    assert driver.faults.total() > 5
    assert driver.well, [*driver.lost, *driver.hangs, *driver.leftovers]
