"""The page about the architecture describes the code as it is."""

from __future__ import annotations

import re

import pytest

from mpidirect.protocol.messages import client, engine, shared
from tests.layers import MAY_IMPORT, ROOT

PAGES = ["README.md", "docs/architecture.md", "docs/reliability.md", "docs/security.md"]
ANYWHERE = {"errors", "_version", "_prompt", "_tracebacks"}  # what the page allows every package to import


def test_the_map_of_packages_is_the_contract():
    page = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `([\w.]+)` \| .* \| (?:–|((?:`[\w.]+` ?)+)) \|$", page, re.M)
    told = {package: set(re.findall(r"[\w.]+", allowed)) for package, allowed in rows}
    packages = {layer for layer in MAY_IMPORT if (ROOT / "mpidirect" / layer).is_dir()}
    assert told == {layer: MAY_IMPORT[layer] - ANYWHERE for layer in packages | {"job.roles", "job.__main__"}}


def test_the_table_of_messages_is_complete():
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = (
        page.partition("\n## Messages\n")[2].partition("\n\nA **request**")[0].partition("| from, to |")[2]
    )
    defined = {
        kind for module in (client, engine) for kind in vars(module).values() if isinstance(kind, type)
    }
    messages = {kind.__name__ for kind in defined if issubclass(kind, shared.Message) and tag(kind)}
    assert set(re.findall(r"`(\w+)`", table)) == messages


def tag(kind):
    return kind.__struct_config__.tag


def test_the_names_in_the_answers_exist():
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("\n## Where is …?\n")[2].partition("\n![")[0]
    source = "".join(file.read_text() for file in (ROOT / "mpidirect").rglob("*.py"))
    named = {
        name for code in re.findall(r"`([A-Za-z_.]+)`", table) if "/" not in code for name in code.split(".")
    }
    assert [name for name in named if not re.search(rf"\b{name}\b", source)] == []


@pytest.mark.parametrize("name", PAGES)
def test_named_files_exist(name):
    """Each name of a file is the end of the path of one that is there."""
    files = [
        f"/{file.relative_to(ROOT)}" for top in ("mpidirect", "tests") for file in (ROOT / top).rglob("*.py")
    ]
    named = re.findall(r"`([\w/]+\.py)`", (ROOT / name).read_text())
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []
