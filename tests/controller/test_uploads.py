"""Incomplete requests: their data is freed, and no engine waits long for it."""

from __future__ import annotations

import threading
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from mpidirect import Client, errors
from mpidirect.controller.clients import requests
from mpidirect.controller.clients.requests import Requests
from mpidirect.controller.sessions.session import Session
from mpidirect.protocol import messages
from tests.proxy import Proxy

pytestmark = [pytest.mark.timeout(60), pytest.mark.openmpi_only]  # nothing here depends on the MPI

PIECE = messages.chunks(1 << 30)[0][1]  # bytes of a chunk


class Payload(np.ndarray):
    """Bytes whose end can be observed."""


class Half:
    """A client that was killed after it had sent one of the two chunks of a request."""

    def __init__(self, budget=1 << 30):
        self.failed = []
        scheduler = SimpleNamespace(begins_at_once=lambda request: False)
        self.requests = Requests(scheduler, None, None, None, budget, self.fail)
        self.session = Session(b"killed")
        self.session.listener = object()
        request = messages.Request(1, 0, "killed-1", [0, 1], "push", "push", [2 * PIECE])
        self.requests.receive(self.session, request, [])
        piece = np.zeros(PIECE, np.uint8).view(Payload)
        self.data = weakref.ref(piece)
        self.requests.receive(self.session, messages.Chunk(2, 0), [piece])
        del piece
        assert self.data() is not None
        self.session.disconnect()

    def fail(self, request, engine, ename, evalue):
        self.failed.append((engine, ename, evalue))

    def look(self):
        self.requests.give_up_partial()


def test_an_incomplete_request_is_kept_for_its_client():
    half = Half()
    half.look()
    assert half.data() is not None and not half.failed


def test_an_incomplete_request_is_finally_dropped(monkeypatch):
    half = Half()
    monkeypatch.setattr(requests, "PARTIAL_UPLOAD_LIMIT", -1.0)
    half.look()
    assert half.data() is None
    assert [(engine, ename) for engine, ename, _ in half.failed] == [(0, "EngineError"), (1, "EngineError")]
    # if the client returns, it sends the other chunk, which is dropped
    half.requests.receive(half.session, messages.Chunk(3, 0), [np.zeros(PIECE, np.uint8)])
    with pytest.raises(ValueError, match="belongs to no request"):
        half.requests.receive(half.session, messages.Chunk(4, 0), [np.zeros(PIECE, np.uint8)])


def test_an_incomplete_request_without_memory_is_dropped_at_once():
    half = Half(budget=PIECE - 1)
    half.look()
    assert half.data() is None and half.failed


def test_an_empty_piece_aborts_a_request_whose_data_is_on_its_way():
    half = Half()
    half.requests.receive(half.session, messages.Chunk(3, 0), [b""])
    assert half.data() is None
    assert [(engine, ename) for engine, ename, _ in half.failed] == [(0, "TaskAborted"), (1, "TaskAborted")]
    with pytest.raises(ValueError, match="belongs to no request"):
        half.requests.receive(half.session, messages.Chunk(4, 0), [b""])


def test_requests_whose_data_the_controller_reads_or_will_read_can_be_aborted():
    failed = []
    planner = SimpleNamespace(stays_at_client=lambda request: False)
    staged = Requests(None, None, None, planner, 1 << 30, lambda request, *_: failed.append(request.id))
    session = Session(b"here")
    session.process = 1
    for k in range(3):
        header = messages.Request(k + 1, 0, f"here-{k}", [0], "push", "push", [PIECE], [], [4096])
        staged.receive(session, header, [])
    assert staged.abort(["here-0", "here-2"]) == 2 and failed == ["here-0", "here-2"]
    assert staged.staging and staged.abort(None) == 1 and not staged.staging


def test_a_call_on_all_does_not_wait_for_a_client_that_was_cut_off(cluster, rc, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIRECT_MEMORY", "0")
    passed = threading.Event()

    def count(data):
        nonlocal left
        left -= len(data)
        if left < 0:
            passed.set()
        return data

    data = np.ones(100_000_000, np.uint8)
    left = 90_000_000  # so late that the engines may wait for the remaining data
    with Proxy(cluster.connection_file) as proxy, Client(proxy.info) as cut_off:
        proxy.mutate(count)
        push = cut_off[:].push({"half": data}, block=False)
        assert passed.wait(30)
        proxy.down()
        began = time.monotonic()
        assert rc[:].apply_async(lambda: 7).get(20) == [7] * 4
        assert time.monotonic() - began < 10  # the limit is 5; the machine may be busy
        proxy.up()
        try:
            push.get(30)
        except errors.CompositeError as e:
            assert "vanished" in str(e)
