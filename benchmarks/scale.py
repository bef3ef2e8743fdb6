"""``python -m benchmarks.scale``: the controller's cost per engine, with more engines than fit on a machine.

The controller is the real one, and its transport is simulated (`simulated`). The cost of real sockets is
measured separately (`sockets`), with as many sockets as one process may have.
"""

from __future__ import annotations

import gc
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table

from . import page
from .receiving import receive
from .simulated import Simulation
from .sockets import SocketCost, socket_cost

SIZES = (64, 256, 1024, 4096, 16384)
MOST_TIME, MOST_MEMORY = 15.0, 10.0  # the targets: µs and kB per engine
MB = 1000 * 1000
START = "all engines come"
CLIENT = "the client takes the answers"
BEGIN = "<!-- figures: written by python -m benchmarks.scale --docs -->"


class Action(NamedTuple):
    """A request to all engines: the sizes of its frames, and of each engine's reply."""

    title: str
    op: str
    shared: list[int]
    results: list[int]


ACTIONS = (
    Action("empty call", "apply", [600], [4]),
    Action("push 1 kB", "push", [1200], [4]),
    Action("push 16 MB", "push", [200, 16 * MB], [4]),
    Action("gather 100 B each", "pull", [20], [200]),
    Action("gather 100 kB each", "pull", [20], [200, 100_000]),
)


class Cost(NamedTuple):
    """The cost of one request: processor time (s), and the additional memory at its peak (bytes)."""

    action: str
    engines: int
    time: float
    memory: float


def measure(n: int, repeat: int = 3) -> list[Cost]:
    """Return the costs of all actions with `n` engines; a separate, slower run measures memory."""
    simulation = Simulation(n)
    costs = []
    for action in ACTIONS:
        _perform(simulation, action)
        seconds = median(_perform(simulation, action) for _ in range(repeat))
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        _perform(simulation, action)
        most = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        costs.append(Cost(action.title, n, seconds, most))
    return costs


def standing(n: int) -> Cost:
    """Return the cost of the start until all engines have joined, and the memory for them."""
    begun = time.process_time()
    simulation = Simulation(n)
    seconds = time.process_time() - begun
    del simulation
    gc.collect()
    tracemalloc.start()
    simulation = Simulation(n)
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return Cost(START, simulation.n, seconds, kept)


def _perform(simulation: Simulation, action: Action) -> float:
    """Return the seconds of processor time that the controller needs for one request and all replies."""
    simulation.request(action.op, action.shared, action.results)
    gc.collect()
    spent, replies = 0.0, 0
    for _ in range(simulation.turns):
        begun = time.process_time()
        simulation.turn()
        spent += time.process_time() - begun
        replies += simulation.client.take()
        if replies == simulation.n:
            simulation.turn()  # the last acknowledgement
            return spent
    raise RuntimeError(f"{replies} of {simulation.n} engines have been heard of")


def each(costs: list[Cost], action: str) -> tuple[float, float]:
    """Return the cost of one more engine in µs and kB: from the smallest to the largest number of engines."""
    found = sorted((cost for cost in costs if cost.action == action), key=lambda cost: cost.engines)
    first, last = found[0], found[-1]
    more = max(last.engines - first.engines, 1)
    return 1e6 * (last.time - first.time) / more, (last.memory - first.memory) / more / 1000


def client(n: int) -> Cost:
    """Return the client's cost for all replies of an empty call; its memory is not measured."""
    return Cost(CLIENT, n, min(receive(n) for _ in range(3)), 0.0)


def table(costs: list[Cost]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the lines of the table."""
    sizes = sorted({cost.engines for cost in costs})
    heads = ["to all engines", *(f"{n:,}" for n in sizes), "each engine more"]
    lines = []
    for action in dict.fromkeys(cost.action for cost in costs):
        time, memory = each(costs, action)
        found = [cost for cost in costs if cost.action == action]
        lines.append([action, *(f"{1000 * cost.time:.1f} ms" for cost in found), f"{time:.1f} µs"])
        if any(cost.memory for cost in found):
            lines.append(["", *(f"{cost.memory / 1e6:.2f} MB" for cost in found), f"{memory:.1f} kB"])
    return heads, lines


def summary(costs: list[Cost], sockets: SocketCost) -> str:
    """Return the most important figures."""
    mine = [cost for cost in costs if cost.action != CLIENT]
    slowest, largest = (max(each(mine, cost.action)[k] for cost in mine) for k in (0, 1))
    return (
        f"The controller needs at most {slowest:.1f} µs ({_verdict(slowest, MOST_TIME)} {MOST_TIME:g}) and "
        f"{largest:.1f} kB ({_verdict(largest, MOST_MEMORY)} {MOST_MEMORY:g}) for an engine more. "
        f"ZeroMQ's sockets, as between hosts, add per engine and request {sockets.loop:.1f} µs in its loop "
        f"and {sockets.beside:.1f} µs in ZeroMQ's thread beside it."
    )


def show(costs: list[Cost], sockets: SocketCost, console: Console) -> None:
    """Print the tables."""
    heads, lines = table(costs)
    printed = Table(title="processor time and memory; transport simulated", header_style="bold")
    for head in heads:
        printed.add_column(head, justify="left" if head == heads[0] else "right")
    for line in lines:
        printed.add_row(*line)
    console.print(printed)
    console.print(summary(costs, sockets), highlight=False)


def fill(costs: list[Cost], sockets: SocketCost) -> Path:
    """Write the tables into the documentation."""
    heads, lines = table(costs)
    rows = [heads, ["---", *["--:"] * (len(heads) - 1)], *lines]
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    path = page.DOCS / "scaling.md"
    page.replace_between(path, BEGIN, page.END, f"{text}\n\n{summary(costs, sockets)}")
    return path


def _verdict(value: float, most: float) -> str:
    return "within" if value <= most else "more than"


def profile(run: Callable[[], object]) -> None:
    """Print the functions that need the time of an empty call."""
    import cProfile
    import pstats

    profiler = cProfile.Profile()
    profiler.runcall(run)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(25)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--engines", default=",".join(map(str, SIZES)), show_default=True, help="Numbers of engines.")
@click.option("--repeat", type=click.IntRange(1), default=3, show_default=True, help="Measurements of each.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures.")
@click.option("--docs", is_flag=True, help="Write the figures into the documentation.")
@click.option(
    "--profile", "profiles", is_flag=True, help="Show where the time of an empty call goes instead."
)
def main(engines: str, repeat: int, json_file: Path | None, docs: bool, profiles: bool) -> None:
    """Measure what the controller costs per engine, with a simulated transport of many engines."""
    sizes = [int(word) for word in engines.split(",")]
    if profiles:
        simulation = Simulation(sizes[-1])
        profile(lambda: [_perform(simulation, ACTIONS[0]) for _ in range(repeat)])
        return
    costs = [standing(n) for n in sizes]
    costs += [cost for n in sizes for cost in measure(n, repeat)]
    costs += [client(n) for n in sizes]
    sockets = socket_cost()
    show(costs, sockets, Console())
    if docs:
        Console().print("Written:", str(fill(costs, sockets)))
    if json_file:
        figures = {"costs": [cost._asdict() for cost in costs], "sockets": sockets._asdict()}
        json_file.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
