"""Debuggers whose clients leave."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mpidirect.controller.clients import debuggers
from mpidirect.controller.sessions.session import Session
from mpidirect.protocol import messages

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


@pytest.fixture
def job(monkeypatch):
    """Make the debuggers of a controller whose engine 1 waits for a client that is away."""
    client, sent, clock = Session(b"client"), [], [0.0]
    monkeypatch.setattr(debuggers.time, "monotonic", lambda: clock[0])
    client.away = 0.0
    link = SimpleNamespace(send_control=lambda engine, message: sent.append((engine, message)))
    scheduler = SimpleNamespace(find=lambda engine, task: SimpleNamespace(client=client))
    registry = SimpleNamespace(alive={1: None})
    waiting = debuggers.Debuggers(scheduler, registry, link)
    waiting.changed(1, messages.DebuggerWaits("task", 5, "solve.py:41"))
    return SimpleNamespace(waiting=waiting, client=client, sent=sent, clock=clock, registry=registry)


def test_a_client_has_a_minute_to_come_back(job):
    job.clock[0] = debuggers.RETURN_TIMEOUT - 1
    job.waiting.look()
    assert not job.sent and "engine 1 waits in breakpoint() at solve.py:41" in job.waiting.in_words()[0]
    job.clock[0] = debuggers.RETURN_TIMEOUT + 1
    job.waiting.look()
    [(engine, command)] = job.sent
    assert (engine, command.number) == (1, 5) and "has left" in command.refusal
    assert not job.waiting.in_words()


def test_a_client_that_has_said_goodbye_is_not_awaited(job):
    job.client.left = True
    job.waiting.look()
    assert job.sent


def test_the_debugger_of_a_dead_engine_is_forgotten(job):
    job.registry.alive.clear()
    job.waiting.look()
    assert not job.sent and not job.waiting.in_words()


def test_only_the_awaited_command_goes_to_the_engine(job):
    assert not job.waiting.command(1, messages.DebuggerCommand(4, "c"))
    assert job.waiting.command(1, messages.DebuggerCommand(5, "c"))
    assert not job.waiting.command(1, messages.DebuggerCommand(5, "c"))
    assert [command.line for _, command in job.sent] == ["c"]
