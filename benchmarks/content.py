"""What the arrays hold, so that engines can tell whether all of it has come."""

from __future__ import annotations

import inspect

import numpy as np

ITEM = 8  # bytes


def array(size: int) -> np.ndarray:
    """An array of about `size` bytes."""
    return np.arange(size // ITEM, dtype=np.float64)


def held(x: np.ndarray) -> tuple[float, int, bool]:
    """The first item, how many there are, and whether they count up from it; needs next to no memory."""
    step = 1 << 16
    first = float(x[0])
    blocks = (np.arange(first + i, first + min(i + step, x.size)) for i in range(0, x.size, step))
    counts = all((x[k * step : (k + 1) * step] == block).all() for k, block in enumerate(blocks))
    return first, int(x.size), bool(counts)


# The same for engines that know nothing of this package.
CODE = f"import numpy as np\n\n{inspect.getsource(held)}\n_held = held(x)\n".replace(
    "from __future__ import annotations\n", ""
)
