"""A debugger at the prompt, on the last error of an engine."""

from __future__ import annotations

import sys
from types import TracebackType

import pytest

from mpidirect import CompositeError, RemoteError, interactive
from mpidirect.serialize.failures import describe, user_traceback

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@interactive
def divide(x):
    secret = x + 40
    return secret / (rank - 2)  # noqa: F821


def test_commands_after_an_error(dview, typed, capsys):
    with pytest.raises(CompositeError):
        dview.apply_sync(divide, 2)
    typed += ["p secret", "secret = 5", "p secret + 1", "p nothing", "w", "l", "interact", "q"]
    dview.debug()
    out = capsys.readouterr().out
    assert "Engine 2: ZeroDivisionError" in out and "divide()" in out
    assert "---> 19     return secret / (rank - 2)" in out
    assert "(Pdb 2) p secret\n42\n" in out and "(Pdb 2) p secret + 1\n6\n" in out
    assert "NameError" in out
    dview.debug()  # the debugger has ended
    assert "No engine has an error to debug" in capsys.readouterr().out


def test_pull_keeps_the_error_and_ctrl_d_leaves(rc, typed, capsys):
    with pytest.raises(RemoteError, match="ZeroDivisionError"):
        rc[2].apply_sync(divide, 2)
    assert rc[2]["rank"] == 2 and "rank" in rc[2]
    typed += ["p secret"]
    rc.debug(2)
    out = capsys.readouterr().out
    assert "Engine 2: ZeroDivisionError" in out and "\n42\n" in out
    assert rc[2].apply_sync(abs, -1) == 1


def test_other_code_releases_the_error(rc, capsys):
    with pytest.raises(Exception, match="ZeroDivisionError"):
        rc[0].apply_sync(lambda: 1 / 0)
    rc[0].apply_sync(abs, 1)
    rc[0].debug()
    assert "No engine has an error" in capsys.readouterr().out


def test_px_with_pdb(prompt, typed, cluster):
    prompt(f"from mpidirect import Client; rc = Client({str(cluster.connection_file)!r}); dv = rc[:]")
    prompt("dv.block = True; dv.activate()")
    typed += ["p rank + 100"]
    prompt("%px --pdb 1 / (rank - 1)")
    assert "ZeroDivisionError" in prompt.shown and "(Pdb 1) p rank + 100\n101" in prompt.shown
    typed += ["p value"]
    prompt("%%px --pdb\nvalue = rank\nvalue / 0")
    assert "(Pdb 0) p value\n0" in prompt.shown
    prompt.names["rc"].close()


def test_an_interrupt_without_a_line_number():
    cell = 1

    def closure():
        return cell, sys._getframe()

    without_line = next(start for start, _, line in closure.__code__.co_lines() if line is None)
    error = KeyboardInterrupt()
    error.__traceback__ = TracebackType(None, closure()[1], without_line, -1)
    assert error.__traceback__.tb_lineno is None
    assert user_traceback(error.__traceback__).tb_lineno == closure.__code__.co_firstlineno
    assert describe(error, "apply").ename == "KeyboardInterrupt"
