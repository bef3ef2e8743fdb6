"""The file by which a controller hands its clients over to the next controller."""

from __future__ import annotations

import pytest

from mpidirect.files import job_file
from mpidirect.job import handover
from mpidirect.job.handover import Handover, KeptSession, SessionState

LEFT = Handover(
    generation=2,
    engines=4,
    former=3,
    server=(b"p", b"s"),
    clients=(b"q", b"t"),
    port=5000,
    place="here",
    asker=b"me",
    query="7",
    lost={1: "it died"},
)
STATE = SessionState(
    name=b"me",
    directory="",
    process=0,
    left=False,
    away=0.0,
    received=3,
    last=9,
    useless=0,
    fetched=[],
    kept=2,
)


def test_the_handover_file_is_private_and_read_once(tmp_path):
    file = job_file.handover_file(tmp_path / "job-1.json")
    messages = [[b"header", b""], [b"header", memoryview(bytes(100_000))]]
    handover.write(file, LEFT, [KeptSession(STATE, messages)])
    assert file.stat().st_mode & 0o777 == 0o600
    assert handover.head(file) == LEFT
    taken = handover.take(file)
    assert taken is not None
    left, sessions = taken
    assert (left, [session.state for session in sessions]) == (LEFT, [STATE])
    kept = [frames for session in sessions for frames in session.messages]
    assert kept == [[bytes(frame) for frame in frames] for frames in messages]
    assert not list(tmp_path.iterdir())
    assert handover.head(file) is None and handover.take(file) is None


def test_a_file_that_can_not_be_written_leaves_nothing(tmp_path):
    def broken():
        yield [b"first"]
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        handover.write(job_file.handover_file(tmp_path / "job-1.json"), LEFT, [KeptSession(STATE, broken())])
    assert not list(tmp_path.iterdir())
