"""Modules of the user's own files: a prompt sends their source with what refers to them.

Engines may run where these files are not, or may have loaded an older version of them.  So a pickle that
refers to such a module comes with the source of that module and of those that it may import, as they are
loaded at the prompt; `importing` takes them on the engine.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import site
import sys
import sysconfig
import zlib
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

LIMIT = 1024 * 1024  # bytes of source that are sent together
_WORD = re.compile(r"[^\W\d]\w*")
NEVER = frozenset({"__main__", "__mp_main__", "mpidirect"})


class Source(msgspec.Struct, array_like=True, gc=False):
    """A module as the prompt has loaded it.

    Attributes
    ----------
    name : str
        Its full name.
    file : str
        Where its source lies at the prompt; empty for a package without a file of its own.
    fingerprint : bytes
        Tells one version of the source from another.
    text : bytes or None
        The source; None where it is not sent.
    path : list of str or None
        Of a package: the directories of its modules.
    installed : bool
        Whether it belongs to what is installed, if in a place of its own (an editable install, PYTHONPATH):
        engines are expected to have it.
    """

    name: str
    file: str
    fingerprint: bytes
    text: bytes | None = None
    path: list[str] | None = None
    installed: bool = False


def gather(names: Iterable[str]) -> bytes:
    """What engines need of the user's modules, for `importing.install`; empty if that is nothing.

    Parameters
    ----------
    names : iterable of str
        Full names of the modules that a pickle refers to; those of others than the user's are passed over.

    Examples
    --------
    >>> import helpers  # a file beside the script
    >>> len(gather(["helpers", "numpy"])) > 0
    True
    >>> gather(["numpy"])
    b''
    """
    return _prompt.gather(names)


def look() -> None:
    """Take notice of the user's modules that are loaded now, in their present version."""
    _prompt.look()


def fingerprint(text: bytes) -> bytes:
    """What tells one version of a source from another."""
    return hashlib.blake2b(text, digest_size=16).digest()


def words(text: bytes) -> frozenset[str]:
    """All names that a source mentions: of the modules that it may import, among others."""
    return frozenset(_WORD.findall(text.decode(errors="replace")))


def may_use(user: str, mentions: frozenset[str], module: str) -> bool:
    """Whether module `user`, with these words in its source, may import `module`."""
    top, last = module.partition(".")[0], module.rpartition(".")[2]
    return last in mentions and (top in mentions or top == user.partition(".")[0])


@functools.lru_cache(1024)
def in_environment(directory: str) -> bool:
    """Whether modules in `directory` belong to Python, or to the packages that are installed in it."""
    parts = Path(directory).parts
    if "site-packages" in parts or "dist-packages" in parts:
        return True
    standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    return any(Path(directory).is_relative_to(place) for place in standard)


def root_of(name: str, file: str, is_package: bool) -> str:
    """The directory from which a module, or the package that it is in, is imported."""
    for _ in range(name.count(".") + 1 + is_package):
        file = os.path.dirname(file)  # noqa: PTH120  (a tenth of the cost)
    return file


def spec_of(module: Any) -> ModuleSpec | None:
    """How a module was found; asks no module that is loaded when it is used."""
    try:
        spec = object.__getattribute__(module, "__dict__").get("__spec__")
    except Exception:  # anything can be in sys.modules
        return None
    return spec if isinstance(spec, ModuleSpec) else None


def stat_of(file: str) -> tuple[int, int] | None:
    """What changes when a file does; None if there is none."""
    try:
        status = os.stat(file)  # noqa: PTH116  (a tenth of the cost)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


class _Module(NamedTuple):
    spec: ModuleSpec
    stat: tuple[int, int] | None
    source: Source
    mentions: frozenset[str]

    def is_current(self, spec: ModuleSpec | None, follows: bool) -> bool:
        """Whether it is still what is loaded: loading it again gives it another spec."""
        return spec is self.spec and not (
            follows and self.source.file and stat_of(self.source.file) != self.stat
        )


def _autoreload() -> bool:
    """Whether IPython takes over what changes in files; it does that in place, and leaves no trace."""
    return "IPython.extensions.autoreload" in sys.modules


class _Gathered(NamedTuple):
    modules: list[_Module]
    message: bytes

    def is_current(self) -> bool:
        """Whether the modules are as they were."""
        follows = _autoreload()
        return all(m.is_current(spec_of(sys.modules.get(m.source.name)), follows) for m in self.modules)


class _Prompt:
    """The user's modules that are loaded in this process."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[ModuleSpec, _Module | None]] = {}
        self._own: dict[str, _Module] = {}
        self._count = -1  # of all modules, when they were looked through
        self._gathered: dict[frozenset[str], _Gathered] = {}
        self._places = {
            os.path.realpath(_current_directory())
        }  # where the user works: a chdir does not change it

    def gather(self, names: Iterable[str]) -> bytes:
        if len(sys.modules) != self._count:
            self.look()
        wanted = frozenset(name for name in names if name in self._own)
        if not wanted:
            return b""
        known = self._gathered.get(wanted)
        if known is None or not known.is_current():
            self.look()
            modules = self._with_all_that_they_use(wanted)
            known = self._gathered[wanted] = _Gathered(modules, _packed([m.source for m in modules]))
        return known.message

    def look(self) -> None:
        modules, follows = dict(sys.modules), _autoreload()
        own = {}
        for name, module in modules.items():
            spec = spec_of(module)
            if spec is None:
                continue
            known = self._known.get(name)
            if (
                known is None
                or known[0] is not spec
                or not (known[1] is None or known[1].is_current(spec, follows))
            ):
                known = self._known[name] = spec, self._examined(name, spec)
            if known[1] is not None:
                own[name] = known[1]
        if own != self._own:
            self._own = own
            self._gathered.clear()
        self._count = len(modules)

    def _examined(self, name: str, spec: ModuleSpec) -> _Module | None:
        """A module, if it is the user's."""
        if name.partition(".")[0] in NEVER:
            return None
        paths = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
        file = spec.origin if spec.has_location else ""
        if file:
            if not file.endswith(".py"):
                return None
            root = root_of(name, file, paths is not None)
        elif paths:
            root = root_of(name, paths[0], False)
        else:
            return None
        if in_environment(root):
            return None
        if "" in sys.path:
            self._places.add(_current_directory())
        status = stat_of(file) if file else None
        try:
            text = Path(file).read_bytes() if file else b""
        except OSError:
            return None
        source = Source(
            name,
            file or "",
            fingerprint(text),
            text,
            paths,
            is_expected(name, root, prompt_directory(), *self._places),
        )
        return _Module(spec, status, source, words(text))

    def _with_all_that_they_use(self, names: frozenset[str]) -> list[_Module]:
        """These modules with those that they may import, the packages that they are in, and those in them."""
        found: dict[str, _Module] = {}
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in found or name not in self._own:
                continue
            module = found[name] = self._own[name]
            parts = name.split(".")
            waiting += [".".join(parts[:k]) for k in range(1, len(parts))]
            waiting += [
                other
                for other in self._own
                if may_use(name, module.mentions, other) or (name in names and other.startswith(f"{name}."))
            ]
        return [found[name] for name in self._own if name in found]  # in the order of their first imports


def _packed(sources: list[Source]) -> bytes:
    """The message to engines; without the texts where these are too much."""
    too_much = sum(len(s.text or b"") for s in sources if not s.installed) > LIMIT
    plain = [msgspec.structs.replace(s, text=None if s.installed or too_much else s.text) for s in sources]
    return zlib.compress(msgspec.msgpack.encode(plain))


def prompt_directory() -> str:
    """The directory of the script that runs here; of an interactive session, the current one.

    Empty where Python was told to import nothing from there (``python -P``).
    """
    if getattr(sys.flags, "safe_path", False):
        return ""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if isinstance(file, str) and getattr(sys.modules["__main__"], "__spec__", None) is None:
        return os.path.dirname(os.path.abspath(file))  # noqa: PTH100, PTH120
    return _current_directory()


def _current_directory() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except OSError:  # it was removed
        return ""


def is_expected(name: str, root: str, *own: str) -> bool:
    """Whether engines are expected to have a module: if it is installed in a place of its own.

    Parameters
    ----------
    name : str
        The module.
    root : str
        From where it is imported.
    *own : str
        The directories that the user works in: what lies there is not expected elsewhere.
    """
    if name.partition(".")[0] in _editable_names():
        return True
    root = os.path.realpath(root)
    if root in map(os.path.realpath, filter(None, own)):
        return False
    places = {os.path.realpath(place) for place in sys.path if place}
    return root not in places or root in _installed_places()


@functools.lru_cache(1)
def _installed_places() -> frozenset[str]:
    """Directories from which packages are imported that are installed outside of site-packages."""
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    for directory in {*site.getsitepackages(), site.getusersitepackages()}:
        for file in Path(directory).glob("*.pth"):
            try:
                lines = file.read_text(errors="replace").splitlines()
            except OSError:
                continue
            places += [os.path.join(directory, line.strip()) for line in lines if line.strip()]  # noqa: PTH118
    return frozenset(os.path.realpath(place) for place in places if place)


def _editable_names() -> set[str]:
    """Packages that setuptools has installed in an editable way, by an import hook."""
    found: set[str] = set()
    for finder in sys.meta_path:
        home = getattr(finder, "__module__", None) or ""
        if home.startswith("__editable__"):
            found.update(getattr(sys.modules.get(home), "MAPPING", ()))
    return found


_prompt = _Prompt()
