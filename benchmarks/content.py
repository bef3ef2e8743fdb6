"""The contents of arrays, by which engines check that all bytes have arrived."""

from __future__ import annotations

import inspect

import numpy as np

ITEM = 8  # bytes


def array(size: int) -> np.ndarray:
    """Return an array of about `size` bytes."""
    return np.arange(size // ITEM, dtype=np.float64)


def held(x: np.ndarray) -> tuple[float, int, bool]:
    """Return the first item, the number of items, and whether they count up; this needs little memory."""
    step = 1 << 16
    first = float(x[0])
    blocks = (np.arange(first + i, first + min(i + step, x.size)) for i in range(0, x.size, step))
    counts = all((x[k * step : (k + 1) * step] == block).all() for k, block in enumerate(blocks))
    return first, int(x.size), bool(counts)


# The same function as source, for engines that can't import this package.
CODE = f"import numpy as np\n\n{inspect.getsource(held)}\n_held = held(x)\n".replace(
    "from __future__ import annotations\n", ""
)
