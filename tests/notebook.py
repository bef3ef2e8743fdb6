"""The notebook of the tutorial: `python -m tests.notebook` runs it, and stores its outputs."""

from __future__ import annotations

import copy
import os
import tempfile
from collections.abc import Sequence

import nbformat
from nbclient import NotebookClient

from tests.layers import ROOT

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"
VARIES = "varies"  # tag of cells whose outputs differ from run to run


def read() -> nbformat.NotebookNode:
    """Return the notebook with its stored outputs."""
    return nbformat.read(NOTEBOOK, as_version=4)


def new(cells: Sequence[str]) -> nbformat.NotebookNode:
    """Return a notebook of cells of code."""
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])


def executed(notebook: nbformat.NotebookNode, kernel: str = "python3") -> nbformat.NotebookNode:
    """Return the notebook with the outputs of a run in a kernel, by default of this Python."""
    fresh = copy.deepcopy(notebook)
    NotebookClient(fresh, timeout=120, kernel_name=kernel, record_timing=False).execute()
    fresh.metadata.pop("language_info", None)
    return fresh


def results(notebook: nbformat.NotebookNode) -> list[str]:
    """Return the values and the printed text of the cells whose outputs are always the same."""
    return [
        "".join(map(_result, cell.outputs))
        for cell in notebook.cells
        if cell.cell_type == "code" and VARIES not in cell.metadata.get("tags", [])
    ]


def _result(output: nbformat.NotebookNode) -> str:
    """Return the text of an output; progress and reports on slow engines have none."""
    if output.output_type == "execute_result":
        return output.data["text/plain"]
    return output.text if output.get("name") == "stdout" else ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        os.environ["MPIDIRECT_DIR"] = directory
        nbformat.write(executed(read()), NOTEBOOK)
    print(f"written: {NOTEBOOK}")
