"""The notebook of the tutorial: `python -m tests.notebook` runs it, and stores its outputs."""

from __future__ import annotations

import copy
import os
import tempfile

import nbformat
from nbclient import NotebookClient

from tests.layers import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
VARIES = "varies"  # tag of cells whose outputs differ from run to run


def read() -> nbformat.NotebookNode:
    """Return the notebook with its stored outputs."""
    return nbformat.read(NOTEBOOK, as_version=4)


def executed(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the notebook with the outputs of a run in a kernel of this Python."""
    fresh = copy.deepcopy(notebook)
    NotebookClient(fresh, timeout=60, kernel_name="python3", record_timing=False).execute()
    fresh.metadata.pop("language_info", None)
    return fresh


def results(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """Return the texts of the outputs of each cell whose outputs are always the same."""
    return [
        [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
        for cell in notebook.cells
        if cell.cell_type == "code" and VARIES not in cell.metadata.get("tags", [])
    ]


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        os.environ["MPIDIRECT_DIR"] = directory
        nbformat.write(executed(read()), NOTEBOOK)
    print(f"written: {NOTEBOOK}")
