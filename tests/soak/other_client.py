"""A client in a process of its own, which is frozen or killed: ``python -m tests.soak.other_client``."""

from __future__ import annotations

import sys

import numpy as np

from mpidirect import Client


def main(path: str, what: str, number: str) -> None:
    """Make calls and check their results, or push a large array."""
    with Client(path) as rc:
        print("begins", flush=True)
        if what == "upload":
            rc[:].push({"upload": np.ones(int(number), np.uint8)}, block=True)
        else:
            for k in range(int(number)):
                engine = rc.ids[k % len(rc.ids)]
                assert rc[engine].apply_sync(abs, -k) == k


if __name__ == "__main__":
    main(*sys.argv[1:])
