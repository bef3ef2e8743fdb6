"""Remedies for errors of engines, for which this prompt knows more than the engine."""

from __future__ import annotations

import importlib.util
import re
import sys
import sysconfig
import types
from pathlib import Path

from ...protocol.messages import Failure
from ...protocol.names import INITIAL_NAMES
from ...serialize import prompt_names

_NAME = re.compile(r"name '(\w+)' is not defined|[Uu]ntyped global name '(\w+)'")
_MODULE = re.compile(r"No module named '([\w.]+)'")
_ABSENT = object()


def hint_for(failure: Failure) -> str:
    """Return a remedy in one sentence; an empty text where none is known."""
    ename, evalue = failure.ename, failure.evalue
    try:
        if failure.hint:
            return failure.hint
        if found := _NAME.search(evalue):
            return _of_name(found[1] or found[2])
        if ename == "TypeError" and "object is not callable" in evalue:
            return _of_hidden_function()
        if ename == "ModuleNotFoundError" and (found := _MODULE.search(evalue)):
            return _of_module(found[1])
    except Exception:  # objects at the prompt and import hooks may raise anything
        return ""
    return ""


def _of_hidden_function() -> str:
    """Return a remedy when a function of the prompt has the name of a builtin or of a library's function."""
    for name in INITIAL_NAMES:
        if isinstance(vars(sys.modules["__main__"]).get(name), types.FunctionType):
            return (
                f"each engine has a name {name!r} of its own, which comes before the prompt's "
                f"function {name!r}: give the function another name."
            )
    return ""


def _of_name(name: str) -> str:
    value = vars(sys.modules["__main__"]).get(name, _ABSENT)
    if name in INITIAL_NAMES:
        return (
            f"{name!r} is a name of the engines' namespace, and functions of a module see the names of their "
            "module. Write 'from mpi4py import MPI; comm = MPI.COMM_WORLD' in that file, or decorate the "
            "function with @mpidirect.interactive."
        )
    if value is _ABSENT:
        return ""
    if isinstance(value, types.ModuleType):
        line = f"import {value.__name__}" + ("" if value.__name__ == name else f" as {name}")
        return (
            f"{name!r} is a module at the prompt, no name on the engines: dv.execute({line!r}) makes it one."
        )
    defined = f"{name!r} is defined at the prompt and not on the engines"
    reason = prompt_names.reason_not_sent(name)
    if reason.startswith("it cannot"):
        return f"{defined}: {reason}"
    if not prompt_names.is_code(value):
        defined += ", and data is not sent along with functions"
    elif reason:
        defined += f", and is not sent along with functions, as {reason}"
    return f'{defined}: dv["{name}"] = {name} sends it.'


def _of_module(missing: str) -> str:
    if importlib.util.find_spec(missing) is None:  # raises if the parent package is missing
        return ""
    name = missing.partition(".")[0]
    spec = importlib.util.find_spec(name)
    place = None if spec is None else spec.origin or next(iter(spec.submodule_search_locations or ()), None)
    if place is None:
        return ""
    if place.startswith(tuple(sysconfig.get_paths().values())) or "site-packages" in place:
        return (
            f"the module {name!r} is installed here ({sys.prefix}) and not where the engines run: "
            "install it there, or start the cluster with the Python of this environment."
        )
    file = Path(place)
    folder = str(file.parent.parent if file.name == "__init__.py" else file.parent)
    line = f"import sys; sys.path.insert(0, {folder!r})"
    return (
        f"the module {name!r} is here in {folder}, and the engines find none of that name. If they see that "
        f"folder: dv.execute({line!r}). If not, copy it to where they run."
    )
