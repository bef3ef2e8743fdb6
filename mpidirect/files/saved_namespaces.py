"""The manifest of saved namespaces: a directory with one file for each engine, and ``manifest.json``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from .connection_file import write_private

MANIFEST = "manifest.json"
MANIFEST_VERSION = 1


class SavedEngine(msgspec.Struct):
    """What one engine has written; the file is empty for an engine that saved nothing."""

    file: str = ""
    rest: list[list[int]] = []
    sums: dict[str, int] = {}
    # By name: the distribution of the sequence, its length, the type of its items, its place in the file.
    parts: dict[str, tuple[str, int, str, list[list[int]]]] = {}


class Manifest(msgspec.Struct):
    """The description of a save, which contains everything that `load` needs."""

    version: int
    mpidirect: str
    saved: float
    engines: list[SavedEngine]


def same_engine_plan(directory: str, engine: SavedEngine) -> dict[str, Any]:
    """Return the plan for an engine that gets the names of the engine with the same id."""
    file = f"{directory}/{engine.file}"
    parts = {name: (dist, None, [(file, place)]) for name, (dist, _, _, place) in engine.parts.items()}
    return {"rest": (file, engine.rest, None), "parts": parts}


def write_manifest(directory: Path, version: str, saved: float, engines: Sequence[bytes]) -> None:
    """Write the manifest from encoded descriptions of engines; an empty text means no file.

    Raises
    ------
    OSError
        When the manifest can't be written.
    """
    empty = msgspec.json.encode(SavedEngine())
    manifest = {
        "version": MANIFEST_VERSION,
        "mpidirect": version,
        "saved": saved,
        "engines": [msgspec.Raw(engine or empty) for engine in engines],
    }
    write_private(directory / MANIFEST, msgspec.json.encode(manifest))


def remove_other_saves(directory: Path, generation: str) -> None:
    """Remove the files of all other saves than the save `generation`."""
    for file in directory.glob("*-engine-*.data"):
        if not file.name.startswith(f"{generation}-"):
            file.unlink(missing_ok=True)
