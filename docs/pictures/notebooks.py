"""Pictures of JupyterLab: the kernel that is the job, and a Python kernel with ``%%px``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.browser.lab import JupyterServer, NotebookPage

from .studio import Studio

WIDTH = 1000  # of the window (pixels)

STEPS = """
import numpy as np
x = np.linspace(rank, rank + 1, 200) / size
u = np.exp(-100 * (x - 0.5) ** 2)
for step in range(3):
    u *= 0.9
    print(f"step {step}: norm {comm.allreduce(u @ u) ** 0.5:.4f}")
print(f"x from {x[0]:.2f} to {x[-1]:.2f}")
"""
FIGURE = """
%%targets 1-2
%matplotlib inline
import matplotlib.pyplot as plt
plt.figure(figsize=(5, 1))
plt.plot(x, u);
"""
KERNEL = {"steps": STEPS, "figure": FIGURE, "error": "u[70 * rank]"}
PX = {
    "load": "import mpidirect, time\nrc = mpidirect.Client()\nrc",
    "steps": f"%%px\n{STEPS.strip()}",
    "result": "ar = rc[:].apply_async(lambda: time.sleep(rank))\nar",
}


def kernel(studio: Studio) -> None:
    """A notebook whose cells run on all engines."""
    with _notebook(studio, "heat", "mpidirect-default", KERNEL, height=1140) as notebook:
        for name in KERNEL:
            notebook.run(name)
        studio.save("kernel", notebook.page.screenshot())


def px(studio: Studio) -> None:
    """A notebook with a Python kernel: a client, ``%%px``, and a result that is not ready yet."""
    with _notebook(studio, "notebook", "python3", PX, height=980) as notebook:
        notebook.run("load")
        notebook.run("steps")
        notebook.run("result")
        notebook.wait_for("result", "done")
        studio.save("px", notebook.page.screenshot())


@contextmanager
def _notebook(
    studio: Studio, name: str, kernel: str, cells: dict[str, str], height: int
) -> Iterator[NotebookPage]:
    """Open a notebook in a JupyterLab of its own."""
    server = JupyterServer(studio.home / kernel)
    try:
        if kernel == "python3":
            server.command("start", "-n", "4")
        else:
            server.command("kernel", "install", "-n", "4")
        with studio.page(WIDTH, height) as page:
            notebook = server.open(page, name, kernel, cells)
            page.keyboard.press("Control+B")  # hides the list of files
            yield notebook
    finally:
        server.stop()
        server.command("stop", "--all")
