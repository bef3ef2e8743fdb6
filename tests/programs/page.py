"""On a cluster of 4: runs the cells of a page of the documentation at IPython's prompt; prints ``right``.

    python page.py PAGE CHECK [world]

CHECK is an expression that must be true at the prompt afterwards. With "world", the engines' world in C must
be theirs; else, the launcher's world has the controller in it.
"""

import os
import re
import sys
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from mpidirect import Cluster
from mpidirect.job.variables import C_WORLD
from mpidirect.launchers.mpiexec import MpiexecLauncher

CELL = re.compile(r"^```(?:ipython|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def main() -> None:
    """Run them in order; the first that fails ends it."""
    page, check, *theirs = sys.argv[1:]
    if not theirs:
        MpiexecLauncher.spawns = lambda self: False
        os.environ[C_WORLD] = "launcher"
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    cells = CELL.findall(Path(page).read_text())
    assert cells
    with Cluster(n=4) as rc:
        assert ("engines alone, in C" in rc.facts["world"]) == bool(theirs), rc.facts["world"]
        for cell in (*cells, f"assert {check}"):
            shell.run_cell(cell).raise_error()
        shell.user_ns["rc"].close()
    print("right")


if __name__ == "__main__":
    main()
