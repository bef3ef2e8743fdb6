"""The layers of the package: which package may import which, and a check of every module.

``python -m tests.layers`` checks the package; ``make lint`` runs it.  Imports inside functions and under
``TYPE_CHECKING`` count as well.  ``python -m tests.layers_picture`` draws the table.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "mpidirect"

# The contract, from the lowest layer to the highest.  A layer is a package or a single module.  Each imports
# nothing but what its row names, and a row names layers above its own line only: so there are no circles.
MAY_IMPORT: dict[str, frozenset[str]] = {
    layer: frozenset(allowed.split())
    for layer, allowed in {
        "_version": "",
        "_cluster_lookup": "",
        "_ssh": "",
        "_tracebacks": "",
        "_highlight": "",
        "_prompt": "_highlight _tracebacks",
        "errors": "_prompt",
        "error": "errors",
        "arrays": "",
        "protocol": "",
        "transport": "arrays protocol",
        "memory": "arrays",
        "files": "errors",
        "config": "errors files",
        "serialize": "_tracebacks arrays errors protocol",
        "util": "serialize",
        "job": "_tracebacks errors files",
        "mpi": "arrays job memory protocol serialize",
        "launchers": "config errors files job mpi",
        "controller": "_version arrays errors files job memory mpi protocol transport",
        "engine": "arrays errors files job memory mpi protocol serialize transport",
        "datapub": "engine",
        "job.roles": "controller engine errors files job launchers mpi protocol serialize transport",
        "job.__main__": "errors files job job.roles mpi",
        "client": "_cluster_lookup _prompt _ssh _tracebacks _version arrays config errors files job "
        "launchers memory mpi protocol serialize transport",
        "cluster": "client config errors files job launchers mpi",
        "monitor": "client errors",
        "kernel": "_version client cluster errors job",
        "cli": "_ssh _version client cluster config errors files job kernel launchers monitor",
        "__main__": "cli",
        "__init__": "_cluster_lookup _version arrays client cluster error errors serialize",
    }.items()
}

Graph = Mapping[str, Set[str]]


def modules() -> dict[str, Path]:
    """Return the file of each module, by the module's name inside the package."""
    files = {}
    for file in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = file.relative_to(ROOT / PACKAGE).with_suffix("").parts
        packaged = parts[-1] == "__init__" and len(parts) > 1
        files[".".join(parts[:-1] if packaged else parts)] = file
    return files


def imports() -> dict[str, set[str]]:
    """Return the modules of the package that each module imports, wherever in its file."""
    files = modules()
    return {name: set(_imported(name, file, files)) - {name} for name, file in files.items()}


def _imported(name: str, file: Path, known: Mapping[str, Path]) -> Iterator[str]:
    package = (PACKAGE, *file.relative_to(ROOT / PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            targets = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in targets:
            top, _, inside = target.partition(".")
            if top == PACKAGE:
                yield inside if inside in known else inside.rpartition(".")[0] or "__init__"


def layer_of(module: str) -> str:
    """Return the layer that a module belongs to: the longest part of its name that is a layer."""
    while module not in MAY_IMPORT and "." in module:
        module = module.rpartition(".")[0]
    return module


def upward(importer: str, imported: str) -> bool:
    """Return whether the contract forbids an import."""
    ours, theirs = layer_of(importer), layer_of(imported)
    return ours != theirs and theirs not in MAY_IMPORT.get(ours, ())


def circle(graph: Graph) -> list[str]:
    """Return the modules of a circle of imports in their order, the first again at the end; empty if none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1][::-1]  # in the error each module is imported by the next
    return []


def problems(graph: Graph) -> Iterator[str]:
    """Yield a sentence for each breach of the contract and each circle of modules."""
    below: set[str] = set()
    for layer, allowed in MAY_IMPORT.items():
        for above in sorted(allowed - below):
            yield f"the contract lets {layer} import {above}, which is no lower layer"
        below.add(layer)
    for module in graph:
        if layer_of(module) not in MAY_IMPORT:
            yield f"{module} belongs to no layer of the contract"
    for importer, imported in _edges(graph):
        if upward(importer, imported):
            yield f"{importer} imports {imported}: {layer_of(importer)} may not import {layer_of(imported)}"
    if found := circle(graph):
        yield f"a circle of imports: {' -> '.join(found)}"


def _edges(graph: Graph) -> Iterator[tuple[str, str]]:
    for importer, all_imported in graph.items():
        for imported in sorted(all_imported):
            yield importer, imported


def main() -> int:
    """Print the problems; return the exit status."""
    found = list(problems(imports()))
    print("\n".join(found) or "The layers hold.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
