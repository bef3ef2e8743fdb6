"""Which engine gets which task, and when."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpidirect.controller.scheduling.scheduler import PREFETCH, ActiveRequest, Scheduler
from mpidirect.protocol import messages

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


class FakeTransport:
    """Notes the messages that would be sent to engines."""

    def __init__(self):
        self.tasks = []
        self.control = []

    def send_task(self, engine, job):
        self.tasks.append((engine, job.id))

    def send_control(self, engine, message):
        self.control.append((engine, message))

    def of(self, engine):
        """Return the tasks that were sent to this engine, in order."""
        return [task for target, task in self.tasks if target == engine]


def job(id, targets, bulk=False):
    return ActiveRequest(str(id), "client", "apply", list(targets), SimpleNamespace(bulk=bulk))


@pytest.fixture
def transport():
    return FakeTransport()


@pytest.fixture
def scheduler(transport):
    return with_engines(transport, 3)


def with_engines(transport, n):
    scheduler = Scheduler(transport)
    for engine in range(n):
        scheduler.add(engine)
    return scheduler


def test_a_task_goes_to_its_targets(scheduler, transport):
    task = job(1, [0, 2])
    assert scheduler.submit(task) == []
    assert transport.tasks == [(0, "1"), (2, "1")]
    assert task.open == {0, 2}
    assert scheduler.done(0, "1") is task
    assert task.open == {2}


def test_some_small_tasks_are_handed_out_ahead(scheduler, transport):
    for k in range(PREFETCH + 5):
        scheduler.submit(job(k, [0]))
    assert len(transport.of(0)) == PREFETCH
    assert scheduler.status([0]) == {0: {"queue": 5, "tasks": PREFETCH, "completed": 0}}
    scheduler.done(0, "0")
    scheduler.next(0)
    assert transport.of(0)[-1] == str(PREFETCH)
    assert scheduler.status([0]) == {0: {"queue": 4, "tasks": PREFETCH, "completed": 1}}


def test_a_task_with_bulk_waits_for_an_idle_engine(scheduler, transport):
    scheduler.submit(job("small", [0]))
    scheduler.submit(job("bulk", [0, 1], bulk=True))
    scheduler.submit(job("after", [0, 1]))
    assert transport.of(0) == ["small"]
    assert transport.of(1) == ["bulk", "after"]  # the engine was free: no engine waits for engine 0
    scheduler.done(0, "small")
    scheduler.next(0)
    assert transport.of(0) == ["small", "bulk", "after"]


def test_requests_that_are_not_admitted_wait(scheduler, transport):
    scheduler.admits = lambda task: task.id != "no"
    scheduler.submit(job("no", [0]))
    scheduler.submit(job("behind", [0]))
    assert transport.tasks == []
    scheduler.admits = lambda task: True
    scheduler.next(0)
    assert transport.of(0) == ["no", "behind"]


def test_dead_targets_are_returned(scheduler, transport):
    task = job(1, [1, 7])
    assert scheduler.submit(task) == [7]
    assert task.open == {1}
    assert transport.tasks == [(1, "1")]


def test_unexpected_replies_are_ignored(scheduler):
    assert scheduler.done(0, "unknown") is None
    assert scheduler.done(9, "unknown") is None
    assert scheduler.status([0])[0]["completed"] == 0


def test_abort_removes_queued_tasks_and_tells_engines(scheduler, transport):
    for k in range(PREFETCH + 2):
        scheduler.submit(job(k, [0]))
    aborted = scheduler.abort({"1", str(PREFETCH)}, [0, 1], True)
    assert [(task.id, engine) for task, engine in aborted] == [(str(PREFETCH), 0)]
    assert aborted[0][0].open == set()
    [(engine, message)] = transport.control
    assert engine == 0
    assert isinstance(message, messages.AbortTasks)
    assert message.ids == ["1"]
    assert scheduler.status([0])[0]["queue"] == 1


def test_abort_of_everything(scheduler):
    for k in range(PREFETCH + 2):
        scheduler.submit(job(k, [0, 1]))
    aborted = scheduler.abort(None, [1], True)
    assert sorted(task.id for task, _ in aborted) == sorted([str(PREFETCH), str(PREFETCH + 1)])
    assert {engine for _, engine in aborted} == {1}
    assert scheduler.status([0, 1])[0]["queue"] == 2


def test_a_dead_engine_returns_its_tasks(scheduler):
    tasks = [job(k, [0, 1]) for k in range(PREFETCH + 2)]
    for task in tasks:
        scheduler.submit(task)
    assert scheduler.remove(0) == tasks
    assert all(task.open == {1} for task in tasks)
    assert scheduler.remove(0) == []
    assert scheduler.status([0, 1]).keys() == {1}
    assert scheduler.submit(job("late", [0])) == [0]


def test_idle(scheduler):
    assert scheduler.idle([0, 1, 2])
    scheduler.submit(job(1, [1]))
    assert not scheduler.idle([0, 1])
    assert scheduler.idle([0, 2])
    assert not scheduler.idle([0, 9])


@given(
    st.lists(
        st.tuples(st.sets(st.integers(0, 2), min_size=1), st.booleans()) | st.integers(0, 2), max_size=80
    )
)
def test_all_engines_see_requests_in_one_order(events):
    transport = FakeTransport()
    scheduler = with_engines(transport, 3)
    finished = dict.fromkeys(range(3), 0)

    def finish(engine):
        sent = transport.of(engine)
        if finished[engine] < len(sent):
            assert scheduler.done(engine, sent[finished[engine]]) is not None
            finished[engine] += 1
            scheduler.next(engine)

    expected = {engine: [] for engine in range(3)}
    for number, event in enumerate(events):
        if isinstance(event, int):
            finish(event)
            continue
        targets, bulk = event
        scheduler.submit(job(number, sorted(targets), bulk))
        for engine in targets:
            expected[engine].append(str(number))
    for engine in range(3):
        for _ in events:
            finish(engine)
        assert transport.of(engine) == expected[engine]
