"""`sync_imports`: imports here and on the engines."""

from __future__ import annotations

import threading

import pytest

from mpidirect import CompositeError

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


def test_imports_happen_on_both_sides(dview, capsys):
    with dview.sync_imports():
        import colorsys
        import os.path as osp
        from collections import OrderedDict, deque
    assert capsys.readouterr().out.splitlines() == [
        "importing colorsys on engine(s)",
        "importing os.path as osp on engine(s)",
        "importing OrderedDict, deque from collections on engine(s)",
    ]
    assert colorsys and osp and OrderedDict and deque
    for names in dview.pull("list(globals())", block=True):
        assert {"colorsys", "osp", "OrderedDict", "deque"} <= set(names)
        assert "os" not in names


def test_importer_and_quiet(dview, capsys):
    with dview.importer:
        import bisect
    with dview.sync_imports(quiet=True):
        import heapq
    assert capsys.readouterr().out == "importing bisect on engine(s)\n"
    assert bisect and heapq
    assert dview.apply_sync(lambda: heapq.__name__) == ["heapq"] * 4


def test_only_what_is_written_in_the_block_is_imported(dview, capsys):
    def elsewhere():
        import calendar

        return calendar

    with dview.sync_imports():
        elsewhere()
    assert capsys.readouterr().out == ""


def test_import_is_restored_after_errors(dview):
    import builtins

    before = builtins.__import__
    with pytest.raises(ImportError), dview.sync_imports():
        import no_such_module  # noqa: F401
    assert builtins.__import__ is before
    with pytest.raises(NotImplementedError):
        dview.sync_imports(local=False)


def test_blocks_of_several_threads(dview):
    import builtins

    before = builtins.__import__
    entered, leave = threading.Event(), threading.Event()

    def other():
        with dview.sync_imports(quiet=True):
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=other)
    with dview.sync_imports(quiet=True):
        thread.start()
        entered.wait(30)
    leave.set()
    thread.join(10)
    assert builtins.__import__ is before


def test_imports_that_fail_on_engines(dview, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CompositeError, match="only_here"), dview.sync_imports(quiet=True):
        import only_here  # noqa: F401
