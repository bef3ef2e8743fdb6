"""The check of the layers finds violations, and the picture shows the code as it is."""

from __future__ import annotations

import pytest

from tests import layers, layers_picture

pytestmark = pytest.mark.openmpi_only  # nothing here depends on the MPI


def test_the_layers_hold():
    assert list(layers.problems(layers.imports())) == []


def test_imports_in_functions_and_for_types_count(tmp_path, monkeypatch):
    (tmp_path / "mpidirect" / "arrays").mkdir(parents=True)
    (tmp_path / "mpidirect" / "errors.py").touch()
    (tmp_path / "mpidirect" / "cli.py").touch()
    (tmp_path / "mpidirect" / "arrays" / "__init__.py").touch()
    (tmp_path / "mpidirect" / "arrays" / "kinds.py").write_text(
        "if TYPE_CHECKING:\n    from ..cli import main\n"
        "def f():\n    from .. import errors\n    import mpidirect.arrays\n"
    )
    monkeypatch.setattr(layers, "ROOT", tmp_path)
    assert layers.imports()["arrays.kinds"] == {"cli", "errors", "arrays"}


def test_an_import_of_a_higher_layer_is_found():
    (problem,) = layers.problems({"arrays.kinds": {"client.client"}, "client.client": set()})
    assert problem == "arrays.kinds imports client.client: arrays may not import client"


def test_a_circle_is_found():
    (problem,) = layers.problems({"files.a": {"files.b"}, "files.b": {"files.a"}})
    assert "files.a -> files.b" in problem or "files.b -> files.a" in problem


def test_a_module_outside_the_layers_is_found():
    (problem,) = layers.problems({"elsewhere": set()})
    assert problem == "elsewhere belongs to no layer of the contract"


def test_the_picture_is_made_of_this_code():
    drawn = layers_picture.PICTURE.read_text()
    assert drawn == layers_picture.picture(), "python -m tests.layers_picture"


def test_every_layer_is_drawn_and_on_the_map():
    # modules at two levels have these names, as in ipyparallel
    names = {"error", "errors", "datapub", "util"}
    small = names | {layer for layer in layers.MAY_IMPORT if layer[0] == "_"}
    packages = layers.MAY_IMPORT.keys() - small
    assert packages == layers_picture.DRAWN.keys() - small
    text = layers_picture.PAGE.read_text()
    assert [layer for layer in sorted(packages) if f"\n| `{layer}` | " not in text] == []


def test_the_map_shows_the_contract():
    text = layers_picture.PAGE.read_text()
    assert text == layers_picture.page(text), "python -m tests.layers_picture"
