"""The page about the architecture describes the code as it is."""

from __future__ import annotations

import re

import pytest

from tests.layers import MAY_IMPORT, ROOT

PAGES = ["README.md", "docs/architecture.md", "docs/reliability.md", "docs/security.md"]
ANYWHERE = {"errors", "_version", "_prompt", "_tracebacks"}  # what the page allows every package to import


def test_the_map_of_packages_is_the_contract():
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| .* \| (?:–|((?:`[\w.]+` ?)+)) \|$", page, re.M)
    told = {package: set(re.findall(r"[\w.]+", allowed)) for package, allowed in rows}
    packages = {layer for layer in MAY_IMPORT if (ROOT / "mpidirect" / layer).is_dir()}
    assert told == {layer: MAY_IMPORT[layer] - ANYWHERE for layer in packages | {"job.roles", "job.__main__"}}


@pytest.mark.parametrize("name", PAGES)
def test_named_files_exist(name):
    """Each name of a file is the end of the path of one that is there."""
    files = [
        f"/{file.relative_to(ROOT)}" for top in ("mpidirect", "tests") for file in (ROOT / top).rglob("*.py")
    ]
    named = re.findall(r"`([\w/]+\.py)`", (ROOT / name).read_text())
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []
