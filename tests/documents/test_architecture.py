"""The page about the architecture describes the code as it is."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT

from mpidirect.protocol.messages import client, engine, shared

pytestmark = pytest.mark.openmpi_only  # the same with any MPI

PAGES = ["README.md", "docs/architecture.md", "docs/reliability.md", "docs/security.md"]


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


def test_names_in_the_answers_exist():
    page = (ROOT / "docs" / "architecture.md").read_text()
    table = page.partition("\n## Where is …?\n")[2].partition("\n![")[0]
    source = "".join(file.read_text() for file in (ROOT / "mpidirect").rglob("*.py"))
    named = {
        name for code in re.findall(r"`([A-Za-z_.]+)`", table) if "/" not in code for name in code.split(".")
    }
    assert [name for name in named if not re.search(rf"\b{name}\b", source)] == []


@pytest.mark.parametrize("name", PAGES)
def test_named_files_exist(name):
    """Each name of a file is the end of the path of an existing file."""
    files = [
        f"/{file.relative_to(ROOT)}" for top in ("mpidirect", "tests") for file in (ROOT / top).rglob("*.py")
    ]
    named = re.findall(r"`([\w/]+\.py)`", (ROOT / name).read_text())
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []
