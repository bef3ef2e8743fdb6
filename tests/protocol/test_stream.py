"""Numbered messages: none is lost or repeated, and memory is bounded, over any connections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpidirect.protocol import reliable_stream
from mpidirect.protocol.reliable_stream import Inbox, Outbox

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


def test_messages_are_numbered_from_one_and_kept_until_acknowledged():
    outbox = Outbox()
    for text in (b"a", b"b", b"c"):
        assert outbox.next() == outbox.last + 1
        outbox.put([text], 10)
    assert (outbox.last, len(outbox), outbox.kept) == (3, 3, 30)
    assert list(outbox.due()) == [[b"a"], [b"b"], [b"c"]]
    assert list(outbox.due()) == []
    outbox.acknowledge(2)
    assert (len(outbox), outbox.kept) == (1, 10)
    outbox.acknowledge(1)  # older than the last acknowledgement
    assert len(outbox) == 1


def test_incomplete_messages_are_taken_back():
    outbox = Outbox()
    outbox.put([b"kept"], 4)
    for _ in range(3):
        outbox.put([b"part"], 4)
    outbox.take_back(1)
    assert outbox.kept == 4
    assert outbox.next() == 2
    assert list(outbox.due()) == [[b"kept"]]


def test_no_more_is_under_way_than_the_window():
    outbox = Outbox()
    for _ in range(5):
        outbox.put([b""], reliable_stream.WINDOW // 2)
    assert len(list(outbox.due())) == 2
    assert outbox.waiting
    outbox.acknowledge(1)
    assert len(list(outbox.due())) == 1
    outbox.acknowledge(5)
    assert not outbox.waiting


def test_a_message_larger_than_the_window_goes_alone():
    outbox = Outbox()
    outbox.put([b"large"], 3 * reliable_stream.WINDOW)
    outbox.put([b"next"], 1)
    assert list(outbox.due()) == [[b"large"]]
    outbox.acknowledge(1)
    assert list(outbox.due()) == [[b"next"]]


def test_a_new_connection_sends_unacknowledged_messages_again():
    outbox = Outbox()
    for text in (b"a", b"b", b"c"):
        outbox.put([text], 1)
    assert len(list(outbox.due())) == 3
    outbox.rewind(1)
    assert list(outbox.due()) == [[b"b"], [b"c"]]


def test_the_inbox_refuses_repeated_messages_and_notices_gaps():
    inbox = Inbox()
    assert inbox.accept(1)
    assert not inbox.accept(1)
    with pytest.raises(LookupError, match="message 2 is missing, 3 came"):
        inbox.accept(3)
    assert inbox.accept(2)
    assert inbox.last == inbox.acknowledged() == 2


def test_the_inbox_acknowledges_after_many_bytes():
    inbox = Inbox()
    for k in range(Inbox.MESSAGES_TO_ACKNOWLEDGE):
        assert not inbox.must_acknowledge
        inbox.accept(k + 1)
    assert inbox.must_acknowledge
    inbox.acknowledged()
    assert not inbox.must_acknowledge
    inbox.accept(inbox.last + 1, Inbox.BYTES_TO_ACKNOWLEDGE)
    assert inbox.must_acknowledge


@given(st.lists(st.sampled_from(["put", "send", "lose", "acknowledge"]), max_size=60))
def test_all_messages_arrive_once_in_order_over_any_connections(events):
    outbox, inbox, flying, arrived, count = Outbox(), Inbox(), [], [], 0

    def deliver():
        for seq in flying:
            if inbox.accept(seq):
                arrived.append(seq)
        flying.clear()

    for event in [*events, "lose", "send"]:
        if event == "put":
            count += 1
            outbox.put([outbox.next()], 1)
        elif event == "send":
            flying += [frames[0] for frames in outbox.due()]
            deliver()
        elif event == "lose":
            flying += [frames[0] for frames in outbox.due()]
            flying = flying[: len(flying) // 2]
            deliver()
            outbox.rewind(inbox.last)
        else:
            outbox.acknowledge(inbox.acknowledged())
    assert arrived == list(range(1, count + 1))
