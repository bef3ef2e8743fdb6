"""The operations of tasks. Arguments: the namespace, the data for all engines, this engine's own part."""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ..files.saved_namespaces import Manifest, SavedEngine, remove_other_saves, same_engine_plan
from ..protocol.frames import Frame
from ..serialize import received_names
from . import map_progress, post_mortem, saving
from .output import displays
from .shared_memory import map_shared

Namespace = dict[str, Any]

log = logging.getLogger(__name__)

_MISSING = object()


def apply(namespace: Namespace, shared: Any, own: Any) -> Any:
    """Call a function: `shared` is ``(f, args, kwargs)``, `own` the first arguments on this engine."""
    f, args, kwargs = shared
    own_args = () if own is None else own
    return f(*own_args, *args, **kwargs)


def call_each(namespace: Namespace, shared: Any, own: Any) -> list[Any]:
    """Map a function over this engine's part of the sequences."""
    f, _, _ = shared
    first = map_progress.begin(own[0])
    try:
        if len(own) == 1:
            return [f(item) for item in first]
        return [f(*items) for items in zip(first, *own[1:], strict=False)]
    finally:
        map_progress.end()


def push(namespace: Namespace, shared: Any, own: Any) -> None:
    """Set names: `shared` is a dict, or a name whose value on this engine is `own`."""
    for name, value in shared.items() if own is None else [(shared, own)]:
        owner, _, attribute = name.rpartition(".")
        if owner:
            setattr(lookup(namespace, owner), attribute, value)
        else:
            namespace[name] = value
            saving.forget_scattered([name])
            _mark_as_own([name])


def scatter(namespace: Namespace, shared: Any, own: Any) -> None:
    """Set a name to this engine's part of a sequence."""
    name, dist = shared
    push(namespace, name, own)
    saving.note_scattered(name, dist)


def save(namespace: Namespace, shared: Any, own: Any) -> dict[str, Any]:
    """Write the names `shared`, or all names that user code has set, to the file `own`."""
    chosen = names(namespace, None, None) if shared is None else [n for n in shared if n in namespace]
    return saving.save({name: namespace[name] for name in chosen}, own)


def load(namespace: Namespace, shared: Any, own: Any) -> list[str]:
    """Set names to saved values; return the names."""
    found = saving.load(own)
    namespace.update(found)
    _mark_as_own(found)
    return list(found)


def save_all(namespace: Namespace, file: str) -> list[Frame]:
    """Write all names that user code has set to `file`; return the entry of the manifest, for the controller.

    The controller unpickles nothing, so the entry is JSON.
    """
    saved = save(namespace, None, file)
    for name, why in saved["left"].items():
        log.warning("%r is not saved: %s", name, why)
    parts = {name: tuple(part) for name, part in saved["parts"].items()}
    entry = SavedEngine(Path(file).name, saved["rest"], saved["sums"], parts)
    return [msgspec.json.encode(entry)]


def load_all(namespace: Namespace, directory: str, engine: str) -> list[Frame]:
    """Set the names that the engine with this id has saved by `save_all`."""
    engines = msgspec.json.decode(saving.read_manifest(directory), type=Manifest).engines
    if int(engine) < len(engines):
        load(namespace, None, same_engine_plan(directory, engines[int(engine)]))
    return []


# Operations for the controller: their arguments and results are texts, not pickles.
CONTROLLER_OPERATIONS: dict[str, Callable[..., list[Frame]]] = {"save_all": save_all, "load_all": load_all}


def _mark_as_own(names: Iterable[str]) -> None:
    """Note that names belong to the engine from now on, and not to a prompt."""
    if received_names.engine_names is not None:
        received_names.engine_names.mark_as_own(names)


def _mark_imports_as_own(source: str) -> None:
    """Note that the names that source code imports belong to the engine, and not to a prompt."""
    if received_names.engine_names is not None:
        received_names.engine_names.mark_imports_as_own(source)


def pull(namespace: Namespace, shared: Any, own: Any) -> Any:
    """Return the value of a name or an expression like ``a.b``, or a list of several values."""
    if isinstance(shared, str):
        return lookup(namespace, shared)
    return [lookup(namespace, name) for name in shared]


def lookup(namespace: Namespace, name: str) -> Any:
    """Return the value of a name or an expression."""
    value = namespace.get(name, _MISSING)
    return eval(name, namespace) if value is _MISSING else value


def delete(namespace: Namespace, shared: Any, own: Any) -> None:
    """Delete names, or attributes like ``a.b``: all of them, or none if one is missing."""
    for name in shared:
        if not has(namespace, name, None):
            raise NameError(f"name {name!r} is not defined")
    for name in shared:
        owner, _, attribute = name.rpartition(".")
        if owner:
            delattr(lookup(namespace, owner), attribute)
        else:
            del namespace[name]


def has(namespace: Namespace, shared: Any, own: Any) -> bool:
    """Return whether the engine itself has a name, or an attribute like ``a.b``."""
    name, *attributes = shared.split(".")
    value = _MISSING if _is_from_prompt(name) else namespace.get(name, _MISSING)
    for attribute in attributes:
        value = getattr(value, attribute, _MISSING)
    return value is not _MISSING


def names(namespace: Namespace, shared: Any, own: Any) -> list[str]:
    """Return the names that user code has set, in the order in which they were set."""
    return [name for name, value in namespace.items() if _is_users(name, value)]


def _is_users(name: str, value: Any) -> bool:
    """Return whether a name was set by user code, and is not private, of IPython or of a prompt."""
    if name.startswith("_") or value is _initial_names.get(name, _MISSING) or _is_from_prompt(name):
        return False
    return _shell in (None, _MISSING) or _shell.own_names.get(name, _MISSING) is not value


def _is_from_prompt(name: str) -> bool:
    """Return whether a name came from a prompt, with the code that uses it."""
    return received_names.engine_names is not None and name in received_names.engine_names


def execute(namespace: Namespace, shared: Any, own: Any) -> Any:
    """Run source code: by IPython if it is installed, else as plain Python."""
    code, silent = shared
    ipython = shell(namespace)
    try:
        if ipython is not None:
            return ipython.execute(code, silent)
        exec(compile(code, "<string>", "exec"), namespace)
        return None
    finally:
        _mark_imports_as_own(code)


def run_file(namespace: Namespace, shared: Any, own: Any) -> None:
    """Run the text of a program as ``__main__``, in the namespace."""
    source, filename, argv = shared
    with _as_script(namespace, filename, argv):
        try:
            exec(compile(source, filename, "exec"), namespace)
        except SystemExit as e:
            if e.code not in (None, 0):  # Otherwise the program reports success.
                raise
        finally:
            _mark_imports_as_own(source)


@contextmanager
def _as_script(namespace: Namespace, filename: str, argv: list[str]) -> Iterator[None]:
    """Context manager: set what a program finds when Python was started with it."""
    directory = str(Path(filename).parent)
    before = sys.argv, namespace.get("__file__", _MISSING)
    sys.argv, namespace["__file__"] = [filename, *argv], filename
    sys.path.insert(0, directory)
    try:
        yield
    finally:
        sys.argv, file = before
        if directory in sys.path:
            sys.path.remove(directory)
        if file is _MISSING:
            namespace.pop("__file__", None)
        else:
            namespace["__file__"] = file


def clear(namespace: Namespace, shared: Any, own: Any) -> None:
    """Delete all names, and set an engine's initial names again."""
    for name in [n for n in namespace if n not in shared and not n.startswith("__")]:
        del namespace[name]
    if _shell not in (None, _MISSING):
        _shell.clear()
    saving.forget_scattered()
    namespace.update(_initial_names)


def collective(namespace: Namespace, shared: Any, own: Any) -> Any:
    """Take part in a collective of several engines."""
    from .collectives.collectives import run  # Imported at first use, to start faster.

    return run(namespace, shared)


OPERATIONS: dict[str, Callable[[Namespace, Any, Any], Any]] = {
    "apply": apply,
    "map": call_each,
    "push": push,
    "pull": pull,
    "scatter": scatter,
    "save": save,
    "saved": lambda namespace, shared, own: saving.finish(*shared),
    "sweep": lambda namespace, shared, own: remove_other_saves(Path(shared[0]), shared[1]),
    "manifest": lambda namespace, shared, own: saving.read_manifest(shared),
    "load": load,
    "map_shared": map_shared,
    "execute": execute,
    "run": run_file,
    "clear": clear,
    "collective": collective,
    "names": names,
    "has": has,
    "delete": delete,
    "debug": post_mortem.debug,
}


def shell(namespace: Namespace) -> Any:
    """Return IPython's shell on `namespace`, made at first use; None if IPython is not installed."""
    global _shell
    if _shell is _MISSING:
        displays.stop_watching_imports()
        from .interrupts import held  # Imported here, because no other code of this module needs MPI.

        with held():  # A package whose import was interrupted can't be imported again.
            try:
                from .ipython_shell import Shell
            except ImportError:
                _shell = None
            else:
                _shell = Shell(namespace)
    return _shell


_shell: Any = _MISSING


_initial_names: dict[str, Any] = {}


def new_namespace(names: dict[str, Any]) -> Namespace:
    """Make a new ``__main__`` with these names, which count as the user's only with other values."""
    global _initial_names
    _initial_names = names
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    namespace = module.__dict__
    namespace.update(names)
    received_names.enable(namespace)
    return namespace
