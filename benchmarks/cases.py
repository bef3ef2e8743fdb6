"""The cases: each measures the same operation with each system."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import psutil

from . import content, processes
from .ways import System, Way

KB, MB = 1000, 1000 * 1000
ITEMS = 10_000  # number of items of the map
COLUMNS = {name: name for name in ("mpidirect", "direct", "broadcast", "floor")}
POOLS = {name: name for name in ("futures", "dask")}  # other systems for the same purpose
BESIDE_POOLS = {**COLUMNS, **POOLS}
BY_SOCKET = {**COLUMNS, "mpidirect": "mpidirect-socket"}
BY_TCP = {**COLUMNS, "mpidirect": "mpidirect-tcp", "floor": "floor-tcp"}


@dataclass
class Subject:
    """A running system, with a client."""

    system: System
    name: str
    way: Way
    processes: set[psutil.Process]  # all processes of the system


def _nothing(subject: Subject) -> None:
    pass


@dataclass(frozen=True)
class Case:
    """One row of the table for each number of engines.

    Attributes
    ----------
    measure : callable
        Performs the operation once, and returns its cost in `unit`.
    prepare, check : callable
        Called before the first and after the last measurement; `check` raises when a result was wrong.
    ways : mapping
        The way of each system for each column.
    """

    key: str
    title: str
    measure: Callable[[Subject], float]
    prepare: Callable[[Subject], None] = _nothing
    check: Callable[[Subject], None] = _nothing
    unit: str = "s"
    ways: Mapping[str, str] = field(default_factory=lambda: COLUMNS)
    repeat: int = 100  # maximum number of measurements
    warm: int = 1  # number of executions before the first measurement


def cases(quick: bool = False, minute: bool = False) -> list[Case]:
    """Return all cases. A quick run has little data and short waits; the case of a minute is optional."""
    idles = (0.05,) if quick else (1.0, 1.5)
    bulk = MB if quick else 50 * MB
    pushed = [KB, MB] if quick else [KB, MB, 50 * MB, 400 * MB]
    found = [
        Case("open", "opening a client", _opening),
        Case("one", "empty call on one engine", _hot(lambda way: way.call_one()), ways=BESIDE_POOLS),
        Case("all", "empty call on all engines", _hot(lambda way: way.call_all()), ways=BESIDE_POOLS),
    ]
    for idle in idles:
        found += [
            Case(
                f"one-idle-{idle:g}s",
                f"empty call on one, {idle:g} s idle before",
                _late("call_one", idle),
                warm=0,
            ),
            Case(
                f"all-idle-{idle:g}s",
                f"empty call on all, {idle:g} s idle before",
                _late("call_all", idle),
                warm=0,
            ),
        ]
    if minute:
        found += [
            Case(
                "all-idle-60s",
                "empty call on all, 60 s idle before",
                _late("call_all", 60.0),
                repeat=1,
                warm=0,
            )
        ]
    for times in (30,) if quick else (300, 1000):
        title = f"{times} asynchronous calls on one engine"
        measure = _timed(lambda way, times=times: way.call_often(times))
        found.append(Case(f"often-{times}", title, measure, ways=BESIDE_POOLS))
    found.append(Case("execute", "execute a line on all engines", _hot(lambda way: way.execute())))
    found += [_push(size) for size in pushed]
    found += [_shared(bulk), _scatter(bulk), _gather(bulk), _pull(bulk), _map(), _allreduce(8 * MB)]
    for ways, name, text in (
        (BY_SOCKET, "socket", "by socket alone"),
        (BY_TCP, "tcp", "client by tcp, encrypted"),
    ):
        for make in (_push, _scatter, _gather):
            case = make(bulk)
            found.append(
                Case(
                    f"{case.key}-{name}",
                    f"{case.title}, {text}",
                    case.measure,
                    case.prepare,
                    case.check,
                    ways=ways,
                )
            )
    for role in ("client", "controller", "engine"):
        for what, prepare in (("push", _nothing), ("gather", _spread(bulk))):
            title = f"memory to {what} {_size(bulk)}: {role}"
            measure = partial(_memory, role=role, what=what, size=bulk)
            found.append(Case(f"memory-{what}-{role}", title, measure, prepare, unit="MB", repeat=3, warm=0))
    measure = partial(_idle_processor, seconds=0.2 if quick else 10.0)
    found.append(Case("idle-cpu", "processor use when idle", measure, unit="%", repeat=2, warm=0))
    return found


# -- ways to measure --------------------------------------------------------------------------------


def _timed(action: Callable[[Way], Any]) -> Callable[[Subject], float]:
    """Return the time of one call, or the value of the call if it measures the time itself."""

    def measure(subject: Subject) -> float:
        begun = time.perf_counter()
        seconds = action(subject.way)
        return seconds if isinstance(seconds, float) else time.perf_counter() - begun

    return measure


def _hot(action: Callable[[Way], Any], calls: int = 200, seconds: float = 0.5) -> Callable[[Subject], float]:
    """Return the median of many calls, one after the other."""
    once = _timed(action)

    def measure(subject: Subject) -> float:
        for _ in range(3):
            action(subject.way)
        end = time.perf_counter() + seconds
        times = []
        while len(times) < calls and time.perf_counter() < end:
            times.append(once(subject))
        return median(times)

    return measure


def _late(method: str, idle: float) -> Callable[[Subject], float]:
    """Return the time of a call after an idle period."""
    once = _timed(lambda way: getattr(way, method)())

    def measure(subject: Subject) -> float:
        once(subject)
        time.sleep(idle)
        return once(subject)

    return measure


def _opening(subject: Subject) -> float:
    begun = time.perf_counter()
    way = subject.system.open(subject.name)
    took = time.perf_counter() - begun
    way.close()
    return took


def _idle_processor(subject: Subject, seconds: float) -> float:
    before = processes.processor_seconds(subject.processes)
    time.sleep(seconds)
    return 100 * (processes.processor_seconds(subject.processes) - before) / seconds


def _memory(subject: Subject, role: str, what: str, size: int) -> float:
    """Return the additional peak memory of the largest process; controllers count together."""
    way, array = subject.way, content.array(size)
    if role == "client":
        pids = [os.getpid()]
    else:
        pids = way.engines() if role == "engine" else subject.system.controllers()
    if what == "push":
        way.forget()
    way.give_back()
    before = {pid: processes.resident(pid) for pid in pids}
    for pid in pids:
        processes.forget_peak(pid)
    way.push(array) if what == "push" else way.gather()
    grown = [processes.peak(pid) - before[pid] for pid in pids]
    return sum(grown) if role == "controller" else max(grown)


# -- data -----------------------------------------------------------------------------------------------


def _size(size: int) -> str:
    return f"{size // MB} MB" if size >= MB else f"{size // KB} kB"


def _key(name: str, size: int) -> str:
    return f"{name}-{_size(size).replace(' ', '')}"


def _push(size: int) -> Case:
    array = content.array(size)

    def measure(subject: Subject) -> float:
        took = _timed(lambda way: way.push(array))(subject)
        if size > 100 * MB:  # the systems' copies together would not fit into the memory
            _each_has_all(subject, array)
            subject.way.forget()
        return took

    check = _nothing if size > 100 * MB else partial(_each_has_all, array=array)
    repeat = 3 if size > 100 * MB else 100
    ways = BESIDE_POOLS if size == 50 * MB else COLUMNS
    return Case(
        _key("push", size),
        f"push {_size(size)}",
        measure,
        check=check,
        ways=ways,
        repeat=repeat,
        warm=repeat == 100,
    )


def _shared(size: int) -> Case:
    array = content.array(size)
    ways = {column: way for column, way in COLUMNS.items() if column != "floor"}
    measure = _timed(lambda way: way.push_shared(array))
    check = partial(_each_has_all, array=array)
    return Case(_key("shared", size), f"push {_size(size)}, shared", measure, check=check, ways=ways)


def _scatter(size: int) -> Case:
    array = content.array(size)

    def check(subject: Subject) -> None:
        at = 0.0
        for first, length, counts in subject.way.held():
            must(counts and first == at, "an engine has a wrong part")
            at += length
        must(at == array.size, "a part is missing")

    measure = _timed(lambda way: way.scatter(array))
    return Case(_key("scatter", size), f"scatter {_size(size)}", measure, check=check)


def _gather(size: int) -> Case:
    def check(subject: Subject) -> None:
        must(np.array_equal(subject.way.gather(), content.array(size)), "something else came back")

    measure = _timed(lambda way: way.gather())
    return Case(_key("gather", size), f"gather {_size(size)}", measure, _spread(size), check)


def _pull(size: int) -> Case:
    array = content.array(size)

    def check(subject: Subject) -> None:
        must(np.array_equal(subject.way.pull(), array), "something else came back")

    measure = _timed(lambda way: way.pull())
    title = f"pull {_size(size)} from one engine"
    return Case(_key("pull", size), title, measure, lambda subject: subject.way.push(array), check)


def _map() -> Case:
    items = range(ITEMS)

    def check(subject: Subject) -> None:
        must(list(subject.way.map(items)) == [i * i for i in items], "wrong squares")

    return Case("map", f"map {ITEMS:,} small items", _hot(lambda way: way.map(items), 20), check=check)


def _allreduce(size: int) -> Case:
    items = size // content.ITEM

    measure = _timed(lambda way: way.allreduce())

    def check(subject: Subject) -> None:
        sums = subject.way.reduced()
        n = len(sums)
        ranks = n * (n - 1) / 2
        must(all(tuple(s) == (ranks, n * (items - 1) + ranks) for s in sums), "wrong sums")

    title = f"allreduce {_size(size)} between engines"
    return Case(
        _key("allreduce", size), title, measure, lambda subject: subject.way.prepare_allreduce(items), check
    )


def _spread(size: int) -> Callable[[Subject], None]:
    array = content.array(size)
    return lambda subject: subject.way.scatter(array)


def _each_has_all(subject: Subject, array: np.ndarray) -> None:
    for held in subject.way.held():
        must(tuple(held) == (0.0, array.size, True), "an engine has something else")


def must(true: Any, otherwise: str) -> None:
    """Raise an error unless the condition holds."""
    if not true:
        raise AssertionError(otherwise)
