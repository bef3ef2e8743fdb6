"""Run the snippets with one of the two packages: ``python run_snippets.py PACKAGE REPORT``."""

from __future__ import annotations

import ast
import importlib
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

from snippets import SETUP, SNIPPETS

LIMIT = 20  # seconds for a snippet


def main(package: str, report: str) -> None:
    """Write the results of each snippet with `package`."""
    ipp = importlib.import_module(package)
    options = {"engines": "local", "log_level": 40} if package == "ipyparallel" else {}
    with ipp.Cluster(n=4, **options) as rc:
        outcomes = {
            topic: {snippet: outcome(ipp, rc, snippet) for snippet in snippets}
            for topic, snippets in SNIPPETS.items()
        }
    Path(report).write_text(json.dumps(outcomes))


def outcome(ipp: Any, rc: Any, snippet: str) -> str:
    """Run a snippet; return the value of its last line, or its error, as text."""
    names: dict[str, Any] = {"ipp": ipp, "rc": rc, "dv": rc[:], "e0": rc[0], "lv": rc.load_balanced_view()}
    signal.alarm(LIMIT)
    try:
        exec(SETUP, vars(main_module()))
        exec(SETUP, names)
        tree = ast.parse(snippet)
        last = tree.body.pop()
        exec(compile(tree, "<snippet>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<snippet>", "eval"), names)
            return shown(value, waited="wait()" in snippet)
        exec(compile(ast.Module([last], []), "<snippet>", "exec"), names)
        return "nothing"
    except Exception as e:
        return raised(e)
    finally:
        signal.alarm(0)


def main_module() -> Any:
    """Return the module of functions of the prompt."""
    return sys.modules["__main__"]


def shown(value: Any, waited: bool) -> str:
    """Return the text of a value, without addresses, and without states that depend on time."""
    text = re.sub(r"0x[0-9a-f]+", "0x", repr(value))
    return text if waited else re.sub(r": (pending|finished)>", ": begun>", text)


def raised(error: Exception) -> str:
    """Return an error's class; for an error of engines the class and text that they report."""
    kind = type(error).__name__
    elist = getattr(error, "elist", None)
    if elist is not None:
        return f"raises {kind}: {sorted({(entry[0], entry[1]) for entry in elist})}"
    if hasattr(error, "ename"):
        return f"raises {kind}: {error.ename}: {error.evalue}"
    return f"raises {kind}"


def _late(*_: Any) -> None:
    raise TimeoutError("the snippet takes too long")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, _late)
    main(*sys.argv[1:])
