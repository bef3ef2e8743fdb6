"""Faults of engines: interrupts, stuck calls, deaths, restarts, memory limits, alarms."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path

import numpy as np

from mpidirect import errors
from tests.waiting import until, until_running

from . import work
from .testbed import HANG_TIMEOUT, INTERRUPT_TIMEOUT, Testbed

MIN_ENGINES = 2  # with fewer living engines, all are replaced, or a new cluster is started
CWORLD = Path(__file__).parents[1] / "programs" / "cworld.py"
LARGE = np.ones(150_000_000, np.uint8)
MORE = 100 << 20  # bytes that a limited engine may have in addition to its present memory
ALARM = """
def _alarm(*_):
    raise RuntimeError("alarm")

signal.signal(signal.SIGALRM, _alarm)
signal.setitimer(signal.ITIMER_REAL, 0.02)
"""


def interrupt(bed: Testbed) -> None:
    bed.drain()
    targets = bed.some()
    running = bed.near[targets].apply_async(time.sleep, 600)
    until_running(bed.near, targets)
    bed.near.interrupt(targets)
    bed.expect_interrupt("interrupt", running)


def stuck(bed: Testbed) -> None:
    """Let all engines but one wait for that one, in mpi4py; interrupt them."""
    bed.drain()
    ids = bed.near.ids
    without = bed.source.choice(ids)
    targets = [k for k in ids if k != without]
    code = bed.source.choice(
        ["comm.Barrier()", "comm.allreduce(1)", f"comm.recv(source={ids.index(without)})"]
    )
    running = bed.near[targets].execute(code, block=False)
    until_running(bed.near, targets)
    bed.near.interrupt(targets)
    bed.expect_interrupt("stuck", running)
    bed.together()
    bed.unchanged()


def stuck_in_c(bed: Testbed) -> None:
    """Let all engines but one wait in C, with Python's lock held; interrupt, or restart all."""
    bed.drain()
    ids = bed.near.ids
    without = bed.source.choice(ids)
    targets = [k for k in ids if k != without]
    bed.near[:].run(str(CWORLD), block=True)
    running = bed.near[targets].execute("world.barrier(True)", block=False)
    # An engine that has replaced another has a world of its own: its barrier ends at once.
    until(lambda: running.progress + _busy(bed, targets) >= len(targets))
    try:
        bed.near.interrupt(timeout=INTERRUPT_TIMEOUT)
    except errors.TimeoutError as e:
        if "rc.restart()" not in str(e):
            bed.lost.append(f"stuck in C: the remedy is missing: {e}")
        restart_all(bed)
        return
    if not running.wait(INTERRUPT_TIMEOUT):
        bed.hangs.append("stuck in C")
    bed.together()
    bed.unchanged()


def _busy(bed: Testbed, targets: list[int]) -> int:
    return sum(bool(bed.near.queue_status(k)["tasks"]) for k in targets)


def death(bed: Testbed) -> None:
    """Kill an engine while all work; replace the dead engines if too few are left."""
    if not bed.tolerant:
        return
    engine = bed.source.choice(bed.near.ids)
    pid = bed.near.engines_info[engine]["pid"]
    work.many(bed)
    bed.dead.add(engine)
    last = bed.near[engine].apply_async(time.sleep, 600)
    os.kill(pid, bed.source.choice([signal.SIGKILL, signal.SIGSEGV]))
    try:
        last.get(INTERRUPT_TIMEOUT)
        bed.lost.append("death: a task outlived its engine")
    except errors.TimeoutError:
        bed.hangs.append("death")
    except errors.EngineError:
        pass
    bed.drain()
    bed.together()
    bed.unchanged()
    if len(bed.near.ids) <= MIN_ENGINES:
        bed.source.choice([replacement, restart_all, new_cluster])(bed)


def new_cluster(bed: Testbed) -> None:
    bed.stop()
    bed.start()


def replacement(bed: Testbed) -> None:
    """Replace the dead engines, or one living engine, by new ones."""
    bed.drain()
    missing = [k for k in range(bed.n) if k not in bed.near.ids]
    targets = missing or [bed.source.choice(bed.near.ids)]
    bed.reborn(bed.near.restart(targets), targets, "replacement")
    bed.unchanged()


def restart_all(bed: Testbed) -> None:
    """Start all engines anew while they work, sleep, or wait for each other."""
    bed.drain()
    bed.dead.update(range(bed.n))
    code = bed.source.choice(["", "time.sleep(600)", "if rank: comm.Barrier()"])
    if code and len(bed.near.ids) > 1:
        bed.near[:].execute(code, block=False)
    if bed.source.random() < 0.3:
        os.kill(bed.source.choice(list(bed.near.engines_info.values()))["pid"], signal.SIGSTOP)
    bed.reborn(bed.near.restart(), list(range(bed.n)), "restart of all")


def death_of_all(bed: Testbed) -> None:
    """Kill all engines, at the same time or one after the other; start them anew."""
    if not bed.tolerant:
        return
    work.many(bed)
    bed.dead.update(range(bed.n))
    pause = bed.source.choice([0, 0, 0.01, 0.2])
    for engine in bed.near.engines_info.values():
        os.kill(engine["pid"], signal.SIGKILL)
        time.sleep(pause)
    until(lambda: not bed.near.ids, HANG_TIMEOUT)
    bed.drain()
    bed.reborn(bed.near.restart(), list(range(bed.n)), "restart after the death of all")


def memory_limit(bed: Testbed) -> None:
    """Push more data than an engine has memory for: only a MemoryError follows."""
    bed.drain()
    engine = bed.source.choice(bed.near.ids)
    pid = bed.near.engines_info[engine]["pid"]
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
    resource.prlimit(pid, resource.RLIMIT_AS, (used + MORE, before[1]))
    try:
        bed.near[engine].push({"large": LARGE}, block=False).get(HANG_TIMEOUT)
        bed.lost.append("memory limit: the push found room")
    except errors.TimeoutError:
        bed.hangs.append("memory limit")
    except errors.RemoteError as e:
        if e.ename != "MemoryError":
            bed.lost.append(f"memory limit: {e}")
    finally:
        resource.prlimit(pid, resource.RLIMIT_AS, before)
    bed.near_call()
    bed.unchanged()


def alarm(bed: Testbed) -> None:
    """Let a timer of a task fire after the task's end: the engine continues."""
    bed.drain()
    targets = bed.some()
    deadline = time.monotonic() + HANG_TIMEOUT
    for code in (ALARM, *["time.sleep(0.1)"] * 100):
        try:
            bed.near[targets].execute(code, block=False).get(HANG_TIMEOUT)
            if code != ALARM or time.monotonic() > deadline:
                break
        except (errors.CompositeError, errors.RemoteError) as e:  # the timer has fired in this task
            # If a timer fires while the result is pickled, the text of that error contains its name.
            if not all("alarm" in f.evalue for f in getattr(e, "elist", [e])):
                bed.lost.append(f"alarm: {e}")
                break
    bed.near_call()
    bed.unchanged()


FAULTS = {
    interrupt: 3,
    stuck: 3,
    stuck_in_c: 1,
    death: 3,
    death_of_all: 1,
    replacement: 2,
    restart_all: 2,
    memory_limit: 1,
    alarm: 2,
}
