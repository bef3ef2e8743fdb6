"""loky's own tests of executors, with `Client.executor` in the place of its executor.

A copy of this file runs as a module beside loky's tests. An event that loky shares by a context of processes
is a file here.
"""

from __future__ import annotations

import functools
import time
from pathlib import Path

import pytest

import mpidirect

from . import _executor_mixin
from ._test_process_executor import AsCompletedTests, ExecutorShutdownTest, ExecutorTest, WaitTests


class FileEvent:
    """An event for client and engines."""

    def __init__(self, path: str) -> None:
        self.path = path

    def set(self):
        Path(self.path).touch()

    def clear(self):
        Path(self.path).unlink(missing_ok=True)

    def is_set(self):
        return Path(self.path).exists()

    def wait(self, timeout=None):
        until = time.monotonic() + (30.0 if timeout is None else timeout)
        while not self.is_set() and time.monotonic() < until:
            time.sleep(0.01)
        return self.is_set()


@functools.cache
def client():
    return mpidirect.Client()


def executor_type(max_workers=None, context=None, **options):
    return client().executor()


def adopt(event):
    _executor_mixin._test_event = event


class Mixin:
    """Give each test an executor."""

    executor_type = staticmethod(executor_type)
    worker_count = 2
    context = None

    @pytest.fixture(autouse=True)
    def _executor(self, tmp_path):
        event = FileEvent(str(tmp_path / "event"))
        adopt(event)
        client()[:].apply_sync(adopt, event)
        self.executor = executor_type()
        yield
        event.set()
        self.executor.shutdown(wait=True)


class TestShutdown(Mixin, ExecutorShutdownTest):
    pass


class TestWait(Mixin, WaitTests):
    pass


class TestAsCompleted(Mixin, AsCompletedTests):
    pass


class TestExecutor(Mixin, ExecutorTest):
    pass
