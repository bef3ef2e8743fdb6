"""``python -m benchmarks``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from . import page, plot, report
from .cases import cases
from .interruption import end_by_signals
from .measure import START, Run
from .results import Results, Row


class Numbers(click.ParamType):
    """Whole numbers, with commas between."""

    name = "N[,N…]"

    def convert(self, value, param, ctx):
        try:
            return value if isinstance(value, tuple) else tuple(int(word) for word in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers like 4,16", param, ctx)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--engines", type=Numbers(), default="4,16", show_default=True, help="Numbers of engines.")
@click.option(
    "--repeat", type=click.IntRange(1), default=5, show_default=True, help="Measurements of each case."
)
@click.option(
    "--cases", "wanted", default="", help="Only cases whose keys begin with one of these, with commas."
)
@click.option("--quick", is_flag=True, help="Little data, short waits, one measurement: does it work?")
@click.option("--minute", is_flag=True, help="Also the first call after a minute without any.")
@click.option("--limit", type=float, default=3600.0, show_default=True, help="Seconds for everything.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all measurements.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="Draw a PNG.")
@click.option("--docs", is_flag=True, help="Write table and plot into the documentation.")
@click.option(
    "--read", type=click.Path(path_type=Path, exists=True), help="Measure nothing: use this JSON file."
)
@click.option("--list", "lists", is_flag=True, help="List the cases.")
def main(engines, repeat, wanted, quick, minute, limit, json_file, plot_file, docs, read, lists) -> None:
    """Measure mpidirect, ipyparallel, mpi4py.futures, dask and the floor on this machine, in turns.

    Columns of packages that are not installed stay empty. The floor sends the same bytes through bare
    ZeroMQ sockets and bare MPI.
    """
    console = Console(width=None if Console().is_terminal else 160)
    prefixes = tuple(word for word in wanted.split(",") if word) or ("",)
    chosen = [
        case for case in cases(quick, minute or "all-idle-60s" in prefixes) if case.key.startswith(prefixes)
    ]
    if lists:
        for key, title in ((START, "start until all engines are ready"), *((c.key, c.title) for c in chosen)):
            console.print(f"{key:28} {title}", highlight=False)
        return
    if read:
        results = Results.read(read)
    else:
        end_by_signals()
        run = Run(chosen, 1 if quick else repeat, limit, lambda row: _tell(console, row), quick)
        try:
            for n in engines:
                if START.startswith(prefixes):
                    run.starts(n)
                if chosen:
                    run.calls(n)
        except KeyboardInterrupt:
            console.print("Interrupted: what has been measured follows.")
        results = run.results
    report.show(results.rows, console)
    met, targets = report.summary(results.rows)
    console.print(f"{met} of {targets} targets are met.")
    if json_file:
        results.write(json_file)
    if plot_file:
        plot.draw(results, plot_file)
    if docs:
        console.print("Written:", *map(str, page.fill(results)))


def _tell(console: Console, row: Row) -> None:
    """Print a line for a row that has been measured."""
    values = {column: row.value(column) for column in (*report.COLUMNS, *report.POOLS)}
    told = [f"{name} {report.written(v, row.unit)}" for name, v in values.items() if v is not None]
    console.print(f"n = {row.engines}, {row.title}: {', '.join(told)}", highlight=False, style="dim")


if __name__ == "__main__":
    main()
