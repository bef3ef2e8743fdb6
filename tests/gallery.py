"""The pictures of the gallery: `python -m tests.gallery` runs the pages, which saves their pictures."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from mpidirect import Cluster
from tests.layers import ROOT

GALLERY = ROOT / "docs" / "gallery"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def pages() -> list[Path]:
    """Return the pages of the gallery."""
    return sorted(GALLERY.glob("*.md"))


def run(page: Path) -> None:
    """Run the code of a page as code of ``__main__``, in the current directory."""
    import matplotlib

    matplotlib.use("agg")
    for code in BLOCK.findall(page.read_text()):
        exec(compile(code, str(page), "exec"), vars(sys.modules["__main__"]))
    matplotlib.pyplot.close("all")


if __name__ == "__main__":
    os.chdir(GALLERY)
    with Cluster(n=4):
        for page in pages():
            run(page)
            print(f"written: {page.with_suffix('.png')}")
