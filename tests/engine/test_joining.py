"""Parts that the engines join before the client receives the whole."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import mpidirect
from mpidirect import CompositeError
from mpidirect.arrays import joining
from mpidirect.engine.collectives.joining import MIN_BYTES, _children, _parent

LARGE = f"Counter({{k: 1 for k in range({MIN_BYTES // 8})}})"


def total(counters):
    """Return the sum of counters, and note where the sum was made."""
    import os
    from collections import Counter

    whole = sum(counters, Counter())
    whole["process", os.getpid()] = 1
    return whole


@pytest.fixture(autouse=True)
def associative(monkeypatch):
    """Register a function for counters."""
    monkeypatch.setattr(joining, "_registered", {})
    monkeypatch.setattr(joining, "_associative", set())
    mpidirect.register_join(Counter, total, associative=True)


@pytest.fixture
def counters(dview):
    """Return a view whose engines have a counter each, and a list of their processes."""
    dview.block = True
    dview.execute(f"from collections import Counter\nlarge = {LARGE}\nsmall = Counter('ab')\nimport os")
    return dview, dview.pull("os.getpid()")


def processes_of(whole, pids):
    """Return the positions of the engines whose process has joined parts."""
    return [k for k, pid in enumerate(pids) if ("process", pid) in whole]


def test_large_parts_are_joined_along_a_tree(counters):
    view, pids = counters
    whole = view.gather("large")
    assert whole[0] == whole[MIN_BYTES // 8 - 1] == 4
    assert processes_of(whole, pids) == [0, 2]  # engines 1 and 3 send their parts to these
    result = view.gather("large", block=False)
    assert result.get()[1] == 4 and len(list(result)) == len(whole)
    assert processes_of(view.gather("large", targets=[3, 1]), pids) == [3]
    assert view.gather("large", targets=2)[0] == 1


def test_small_parts_are_joined_by_the_client(counters):
    view, pids = counters
    whole = view.gather("small")
    assert whole["a"] == 4 and processes_of(whole, pids) == []


def test_parts_of_other_types_are_joined_by_the_client(counters):
    view, _ = counters
    view.scatter("x", np.arange(1_000_000))
    np.testing.assert_array_equal(view.gather("x"), np.arange(1_000_000))
    view.client[1]["large"] = 5
    assert view.gather("large")[1] == 5  # the parts were not joined


def test_an_error_is_that_of_one_engine(counters):
    view, _ = counters
    view.client[1].execute("del large", block=True)
    with pytest.raises(CompositeError) as info:
        view.gather("large")
    assert [(entry.ename, entry.engine_info["engine_id"]) for entry in info.value.elist] == [("NameError", 1)]
    assert view.gather("small")["b"] == 4


def test_a_function_that_fails(counters):
    view, _ = counters
    mpidirect.register_join(Counter, lambda parts: 1 / 0, associative=True)
    with pytest.raises(CompositeError, match="ZeroDivisionError"):
        view.gather("large")
    mpidirect.register_join(Counter, total, associative=True)
    assert view.gather("large")[0] == 4


def test_classes_of_the_prompt(dview, main):
    code = """
class Extent:
    def __init__(self, low, high):
        self.low, self.high, self.data = low, high, bytes(1_000_000)

def joined(parts):
    return Extent(min(p.low for p in parts), max(p.high for p in parts))
"""
    exec(code, main.__dict__)
    mpidirect.register_join(main.Extent, main.joined, associative=True)
    dview["Extent"] = main.Extent
    dview.execute("extent = Extent(rank, rank + 1)", block=True)
    whole = dview.gather("extent", block=True)
    assert (type(whole), whole.low, whole.high) == (main.Extent, 0, 4)


@pytest.mark.parametrize("size", [1, 2, 3, 6, 8, 13])
def test_the_tree_reaches_every_position_in_order(size):
    def covered(position):
        found = [position]
        for child in _children(position, size):
            assert _parent(child) == position
            found += covered(child)
        return found

    assert covered(0) == list(range(size))
