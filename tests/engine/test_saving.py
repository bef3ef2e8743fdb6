"""Namespaces in files: saved, and loaded by the same or another number of engines."""

from __future__ import annotations

import json
import threading
import time

import numpy as np
import pytest

from mpidirect import errors

pytestmark = [pytest.mark.timeout(100), pytest.mark.openmpi_only]  # nothing here depends on the MPI

PREPARE = """
own = rank * 10
m = [1]
k = m

def twice(x):
    return of(x) + own

def of(x):
    return 2 * x
"""


def prepare(view):
    view.execute(PREPARE, block=True)
    view.scatter("a", np.arange(100_000), block=True)
    view.scatter("r", list(range(10)), dist="r", block=True)
    view.push({"same": {"x": 1, "z": np.ones(50_000)}}, block=True)


def test_namespaces_are_restored_on_as_many_engines(rc, dview, tmp_path):
    prepare(dview)
    saved = rc.save(tmp_path / "saved")
    assert set(saved.names) == {"a", "r", "same", "own", "m", "k", "twice", "of"} and not saved.left
    assert saved.nbytes > 800_000
    dview.clear(block=True)
    assert set(rc.load(tmp_path / "saved")) == set(saved.names) == set(dview.keys())
    assert dview["own"] == [0, 10, 20, 30]
    assert np.array_equal(dview.gather("a", block=True), np.arange(100_000))
    assert dview.gather("r", dist="r", block=True) == list(range(10))
    assert dview.apply_sync(lambda: (k is m, twice(1))) == [(True, 2 + r) for r in (0, 10, 20, 30)]  # noqa: F821
    dview.apply_sync(lambda: same["z"].fill(3))  # noqa: F821 - what comes back can be written to


def test_unpicklable_values_are_named_and_skipped(rc, dview, tmp_path):
    dview.execute("import threading; lock = threading.Lock(); fine = 1", block=True)
    with pytest.warns(UserWarning, match="all is saved but 'lock'"):
        saved = rc.save(str(tmp_path / "saved"))
    assert list(saved.left) == ["lock"] and "fine" in saved.names


def test_only_some_names(rc, dview, tmp_path):
    dview.push({"one": 1, "other": 2}, block=True)
    assert rc.save(tmp_path, names=["one"]).names == ["one"]
    dview.clear(block=True)
    assert rc.load(tmp_path) == ["one"]


def test_a_failed_save_keeps_the_earlier_one(rc, dview, tmp_path):
    dview["x"] = 1
    rc.save(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    dview["x"] = 2
    rc[2].execute("open = None; import mpidirect.engine.saving as s; s.Path = None", block=True)
    try:
        with pytest.raises(errors.CompositeError):
            rc.save(tmp_path)
    finally:
        rc[2].execute("import pathlib; s.Path = pathlib.Path; del open, s", block=True)
    left = [path.name for path in tmp_path.iterdir() if path.name not in before]
    rc.load(tmp_path)
    assert dview["x"] == [1] * 4
    assert not left
    rc.save(tmp_path)
    assert len(list(tmp_path.iterdir())) == 5  # files of the last save only
    assert all(path.stat().st_mode & 0o77 == 0 for path in tmp_path.iterdir())


def test_a_directory_without_a_save_raises(rc, tmp_path):
    with pytest.raises(errors.MPIDirectError, match="Nothing was saved at"):
        rc.load(tmp_path / "nothing")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(errors.MPIDirectError, match="not a manifest of mpidirect"):
        rc.load(tmp_path)
    (tmp_path / "manifest.json").write_text(
        json.dumps({"version": 99, "mpidirect": "7", "saved": time.time(), "engines": []})
    )
    with pytest.raises(errors.MPIDirectError, match="saved by mpidirect 7"):
        rc.load(tmp_path)


def test_files_that_others_can_change_are_not_loaded(rc, dview, tmp_path):
    dview["x"] = 1
    rc.save(tmp_path)
    file = next(tmp_path.glob("*-engine-1.data"))
    file.chmod(0o620)
    with pytest.raises(errors.RemoteError, match="can be changed by other users"):
        rc.load(tmp_path)
    file.chmod(0o600)
    (tmp_path / "manifest.json").chmod(0o666)
    with pytest.raises(errors.MPIDirectError, match="can be changed by other users"):
        rc.load(tmp_path)


def test_scattered_data_is_divided_over_another_number_of_engines(start, tmp_path):
    _, rc = start(3, prepared=False)
    prepare(rc[:])
    rc.save(tmp_path / "saved")
    for n in (2, 5):
        rc.resize(n)
        view = rc[:]
        with pytest.warns(UserWarning, match="what each engine had for itself is not loaded: own"):
            names = rc.load(tmp_path / "saved")
        assert set(names) == {"a", "r", "same", "m", "k", "twice", "of"}
        lengths = [len(part) for part in view["a"]]
        assert max(lengths) - min(lengths) <= 1
        assert np.array_equal(view.gather("a", block=True), np.arange(100_000))
        assert view.gather("r", dist="r", block=True) == list(range(10))
        assert view.apply_sync(lambda: same["x"]) == [1] * n  # noqa: F821


def test_other_clients_work_during_a_save(rc, dview, tmp_path):
    dview.execute("import numpy; big = numpy.ones(3_000_000)", block=True)
    saving = threading.Thread(target=rc.save, args=(tmp_path,))
    saving.start()
    assert dview.apply_async(lambda: 7).get(60) == [7] * 4
    saving.join()
