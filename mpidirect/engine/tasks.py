"""What an engine can be asked to do: each operation gets what is shared, and its own part."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..serialize import received_names
from . import saving
from .output import displays
from .shared_memory import map_shared

Namespace = dict[str, Any]

_MISSING = object()


def apply(namespace: Namespace, shared: Any, own: Any) -> Any:
    """Call a function: ``(f, args, kwargs)``, and this engine's own arguments in front of the others."""
    f, args, kwargs = shared
    mine = () if own is None else own
    return f(*mine, *args, **kwargs)


def call_each(namespace: Namespace, shared: Any, own: Any) -> list[Any]:
    """Map the function of a call over this engine's part of the sequences."""
    f, _, _ = shared
    if len(own) == 1:
        return [f(item) for item in own[0]]
    return [f(*items) for items in zip(*own, strict=False)]


def push(namespace: Namespace, shared: Any, own: Any) -> None:
    """Set names; a part of one's own comes as the value of the single name that is shared."""
    for name, value in shared.items() if own is None else [(shared, own)]:
        owner, _, attribute = name.rpartition(".")
        if owner:
            setattr(lookup(namespace, owner), attribute, value)
        else:
            namespace[name] = value
            saving.forget_scattered([name])
            _owns([name])


def scatter(namespace: Namespace, shared: Any, own: Any) -> None:
    """Set a name to this engine's part of a sequence."""
    name, dist = shared
    push(namespace, name, own)
    saving.note_scattered(name, dist)


def save(namespace: Namespace, shared: Any, own: Any) -> dict[str, Any]:
    """Write these names, or all that the user has set, to a file of this engine's own."""
    there = names(namespace, None, None) if shared is None else [n for n in shared if n in namespace]
    return saving.save({name: namespace[name] for name in there}, own)


def load(namespace: Namespace, shared: Any, own: Any) -> list[str]:
    """Set names to what was saved; which."""
    found = saving.load(own)
    namespace.update(found)
    _owns(found)
    return list(found)


def _owns(names: Iterable[str]) -> None:
    """These names are the engine's own from now on, and not those of a prompt."""
    if received_names.engine_names is not None:
        received_names.engine_names.mark_as_own(names)


def _owns_imports(source: str) -> None:
    """The same of what a program has imported."""
    if received_names.engine_names is not None:
        received_names.engine_names.mark_imports_as_own(source)


def pull(namespace: Namespace, shared: Any, own: Any) -> Any:
    """The value of a name or an expression like ``a.b``, or a list of several."""
    if isinstance(shared, str):
        return lookup(namespace, shared)
    return [lookup(namespace, name) for name in shared]


def lookup(namespace: Namespace, name: str) -> Any:
    """The value of `name`: a plain name, or an expression."""
    value = namespace.get(name, _MISSING)
    return eval(name, namespace) if value is _MISSING else value


def delete(namespace: Namespace, shared: Any, own: Any) -> None:
    """Delete names, or attributes like ``a.b``: all of them, or none where one is missing."""
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
    """Whether the engine itself has a name, or an attribute like ``a.b``."""
    name, *attributes = shared.split(".")
    value = _MISSING if _is_borrowed(name) else namespace.get(name, _MISSING)
    for attribute in attributes:
        value = getattr(value, attribute, _MISSING)
    return value is not _MISSING


def names(namespace: Namespace, shared: Any, own: Any) -> list[str]:
    """The names that the user has set, in the order in which they were set."""
    return [name for name, value in namespace.items() if _is_users(name, value)]


def _is_users(name: str, value: Any) -> bool:
    """Whether it is not private, and none that an engine begins with, of IPython's or of a prompt's."""
    if name.startswith("_") or value is _begun_with.get(name, _MISSING) or _is_borrowed(name):
        return False
    return _the_shell in (None, _MISSING) or _the_shell.own_names.get(name, _MISSING) is not value


def _is_borrowed(name: str) -> bool:
    """Whether a name came from a prompt with the code that uses it."""
    return received_names.engine_names is not None and name in received_names.engine_names


def execute(namespace: Namespace, shared: Any, own: Any) -> Any:
    """Run source code: by IPython where it is installed, else as plain Python."""
    code, silent = shared
    ipython = shell(namespace)
    try:
        if ipython is not None:
            return ipython.execute(code, silent)
        exec(compile(code, "<string>", "exec"), namespace)
        return None
    finally:
        _owns_imports(code)


def run_file(namespace: Namespace, shared: Any, own: Any) -> None:
    """Run a program whose text was sent, as ``__main__`` and in the namespace."""
    source, filename, argv = shared
    with _as_script(namespace, filename, argv):
        try:
            exec(compile(source, filename, "exec"), namespace)
        except SystemExit as e:
            if e.code not in (None, 0):  # else it is how a program says that all went well
                raise
        finally:
            _owns_imports(source)


@contextmanager
def _as_script(namespace: Namespace, filename: str, argv: list[str]) -> Iterator[None]:
    """What a program finds as if Python had been started with it."""
    place = str(Path(filename).parent)
    before = sys.argv, namespace.get("__file__", _MISSING)
    sys.argv, namespace["__file__"] = [filename, *argv], filename
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.argv, file = before
        if place in sys.path:
            sys.path.remove(place)
        if file is _MISSING:
            namespace.pop("__file__", None)
        else:
            namespace["__file__"] = file


def clear(namespace: Namespace, shared: Any, own: Any) -> None:
    """Forget all names but those that an engine begins with, which are as they were."""
    for name in [n for n in namespace if n not in shared and not n.startswith("__")]:
        del namespace[name]
    if _the_shell not in (None, _MISSING):
        _the_shell.forget()
    saving.forget_scattered()
    namespace.update(_begun_with)


def collective(namespace: Namespace, shared: Any, own: Any) -> None:
    """Take part in a collective of several engines."""
    from .collectives.collectives import run  # loaded when it is first needed, to start faster

    run(namespace, shared)


OPERATIONS: dict[str, Callable[[Namespace, Any, Any], Any]] = {
    "apply": apply,
    "map": call_each,
    "push": push,
    "pull": pull,
    "scatter": scatter,
    "save": save,
    "saved": lambda namespace, shared, own: saving.finish(*shared),
    "sweep": lambda namespace, shared, own: saving.sweep(*shared),
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
}


def shell(namespace: Namespace) -> Any:
    """IPython's shell on `namespace`, made at first use; None where IPython is not installed."""
    global _the_shell
    if _the_shell is _MISSING:
        displays.stop_watching()
        from .interrupts import held  # here, as all else in this module needs no MPI

        with held():  # a package whose import was interrupted can't be imported any more
            try:
                from .ipython_shell import Shell
            except ImportError:
                _the_shell = None
            else:
                _the_shell = Shell(namespace)
    return _the_shell


_the_shell: Any = _MISSING


_begun_with: dict[str, Any] = {}


def new_namespace(names: dict[str, Any]) -> Namespace:
    """A fresh ``__main__`` with these names in it; they are not the user's while they have these values."""
    global _begun_with
    _begun_with = names
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    namespace = module.__dict__
    namespace.update(names)
    received_names.enable(namespace)
    return namespace
