"""A tour of mpidirect on a running cluster: run each statement of `tour`, and print its value.

Start a cluster first (mpidirect start -n 4), or run `make demo`.
"""

import ast
import inspect
import sys
import time
from pathlib import Path

import numpy as np

from mpidirect import Client, CompositeError


def tour():
    # Connect to the cluster, and make a view of all engines.
    rc = Client()
    rc.ids
    dv = rc[:]

    # Each engine is a process of one MPI job.
    dv.apply_sync(lambda: f"engine {rank} of {size}")

    # Map a function over a sequence: each engine gets a part, and the results keep their order.
    dv.map_sync(lambda x: x**2, range(16))

    # Scatter an array: now each engine has a part of it, under the name x.
    data = np.linspace(0, 1, 1_000_000)
    dv.scatter("x", data, block=True)
    dv.apply_sync(lambda: f"{x.size} numbers from {x[0]:.2f} to {x[-1]:.2f}")

    # Compute with the parts on the engines, and gather the result.
    dv.execute("y = 4 / (1 + x**2)", block=True)
    y = dv.gather("y", block=True)
    np.array_equal(y, 4 / (1 + data**2))

    # The engines communicate by MPI: comm is their communicator. The mean of y is close to pi.
    def mean():
        total = comm.allreduce(y.sum())
        return float(total / comm.allreduce(y.size))

    dv.apply_sync(mean)

    # An exception on an engine is raised here, with the engine's own traceback ...
    def inverse():
        return 1 / (rank - 2)

    try:
        dv.apply_sync(inverse)
    except CompositeError as error:
        print(error)
        error.print_tracebacks()

    # ... and the engine continues, with all its data.
    rc[2].apply_sync(lambda: y.size)
    rc.close()


def play(script):
    """Run the statements of a function one by one, as at a prompt: print each statement and its value."""
    began = time.perf_counter()
    lines = Path(__file__).read_text().splitlines()
    function = next(f for f in ast.parse("\n".join(lines)).body if getattr(f, "name", "") == script.__name__)
    shown = function.lineno
    for statement in function.body:
        for line in inspect.cleandoc("\n".join(["", *lines[shown : statement.lineno - 1]])).splitlines():
            print(f"\n{bold(line)}")
        source = inspect.cleandoc("\n".join(["", *lines[statement.lineno - 1 : statement.end_lineno]]))
        print(">>> " + source.replace("\n", "\n... "))
        exec(compile(ast.Interactive([statement]), __file__, "single"), globals())
        shown = statement.end_lineno
    print(f"\n{bold(f'# All of this took {time.perf_counter() - began:.2f} s.')}")


def bold(text):
    return f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text


if __name__ == "__main__":
    play(tour)
