"""Tests in several processes at once (pytest-xdist): which of them run in order, and which alone."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SPLIT = {  # files whose tests start clusters of their own: any process may run any of these tests
    "tests/cli/test_cli.py",
    "tests/client/test_hub.py",
    "tests/controller/test_replacement.py",
    "tests/controller/test_spawn_failures.py",
    "tests/engine/test_memory_limit.py",
    "tests/system/test_again_and_again.py",
    "tests/system/test_death.py",
    "tests/system/test_restart.py",
    "tests/system/test_world.py",
}
LONGEST = (
    "tests/launchers/test_launchers",
    "tests/launchers/test_resume",
    "tests/launchers/test_sge",
    "tests/launchers/test_slurm",
    "tests/system/test_data",
    "tests/system/test_soak",
)

_HERE = Path(__file__).parent
_TURN, _ROOM = _HERE / "parallel.py", _HERE / "conftest.py"  # any two files to lock


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand whole files to the processes, except those in `SPLIT`."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

    config.option.loadscopereorder = False  # the order is the one of `pytest_collection_modifyitems`
    return ByFile(config, log)


def pytest_collection_modifyitems(config, items) -> None:
    """Begin with the longest files; end with the single tests, so that all processes end at the same time.

    The files whose tests run alone come last: no process waits for the end of another's test before them.
    """
    if config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        alone = {unit(item.nodeid) for item in items if item.get_closest_marker("alone")}
        items.sort(
            key=lambda item: (
                unit(item.nodeid) in alone,
                unit(item.nodeid) == item.nodeid,
                not item.nodeid.startswith(LONGEST),
            )
        )


def unit(nodeid: str) -> str:
    """Return the name of the unit that a process runs in order: a file, or a test of a file in `SPLIT`."""
    file = nodeid.partition("::")[0]
    return nodeid if file in SPLIT else file


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item) -> Iterator[None]:
    """Wait until the test may run, before its time begins to count."""
    with room(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@contextmanager
def room(alone: bool) -> Iterator[None]:
    """Share the machine with the tests of other processes, or have it alone."""
    with _TURN.open("r+") as turn, _ROOM.open("r+") as shared:  # NFS locks only what can be written
        fcntl.flock(turn, fcntl.LOCK_EX)  # in order: no test passes one that waits to be alone
        fcntl.flock(shared, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(turn, fcntl.LOCK_UN)
        try:
            yield
        finally:
            fcntl.flock(shared, fcntl.LOCK_UN)  # a forked child of a test may keep the file open
