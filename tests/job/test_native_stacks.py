"""Stacks with C frames: the output of py-spy and gdb, and hosts without these tools or permissions."""

from __future__ import annotations

import doctest
import subprocess

import pytest

from mpidirect.job import native_stacks
from mpidirect.job.native_stacks import NoNativeStack, native_stack

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


def test_the_output_of_the_tools_is_parsed():
    assert doctest.testmod(native_stacks).failed == 0


def test_a_host_without_tools_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(native_stacks, "_tool", lambda name: "")
    with pytest.raises(NoNativeStack, match=r"pip install 'mpidirect\[debug\]'"):
        native_stack(1)


@pytest.mark.parametrize(
    "said", ["Error: Permission Denied: Try running", "ptrace: Operation not permitted."]
)
def test_a_host_that_forbids_native_stacks(monkeypatch, said):
    monkeypatch.setattr(native_stacks, "_tool", lambda name: name)
    answer = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(native_stacks.subprocess, "run", lambda *args, **options: answer)
    with pytest.raises(NoNativeStack, match="ptrace"):
        native_stack(1)
