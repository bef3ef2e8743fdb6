"""Run the programs of ``tests/corpus`` as a user does: in a script, or typed into IPython.

A file of the corpus holds one topic.  Each program begins with ``# -- its title`` and is what someone types
at a prompt that has ``dv``, a view of the engines.  Its last line is an expression, and the value of that is
what counts.  The program runs first with a ``dv`` that does everything here, then with one of real engines;
the two values must be the same, down to the types.  Afterwards the last line is computed once more, here:
what went to the engines and back must have left the prompt as it was.

Lines below the title say what is special about a program:

``# raises: Negative``
    It raises this exception, here and on the engines.
``# error: regular expression``
    On the engines it fails, and the expression is found in what the user is told: it names the remedy.
``# once``
    The last line changes something at the prompt, so it isn't computed again.

The first lines of a file may say ``# needs: numba`` (modules, or ``python 3.12``).
"""

from __future__ import annotations

import ast
import builtins
import enum
import importlib.util
import json
import linecache
import os
import re
import signal
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

CORPUS = Path(__file__).parent / "corpus"
PROGRAM_TIMEOUT = 60  # seconds, on a busy machine


# -- The programs


class Program(NamedTuple):
    """A program of the corpus: its text and its expected result."""

    topic: str
    title: str
    line: int  # the line of the file where the text begins
    text: str
    raises: str | None
    error: str | None
    once: bool

    @property
    def parts(self) -> tuple[list[ast.stmt], ast.expr]:
        """Return the text without its last line, and the last line."""
        *body, last = ast.parse(self.text).body
        if not isinstance(last, ast.Expr):
            raise ValueError(f"{self.topic}: {self.title!r} does not end in an expression")
        return body, last.value

    @property
    def cells(self) -> list[str]:
        """Return the text as cells, cut at empty lines between statements; the last is the expression."""
        body, last = self.parts
        lines = self.text.splitlines()
        cells: list[str] = []
        end = 0
        for statement in body:
            first = min(n.lineno for n in [statement, *getattr(statement, "decorator_list", [])]) - 1
            text = "\n".join(lines[first : statement.end_lineno])
            if cells and all(line.strip() for line in lines[end:first]):
                cells[-1] += "\n" + text
            else:
                cells.append(text)
            end = statement.end_lineno or 0
        return [*cells, "\n".join(lines[last.lineno - 1 : last.end_lineno])]


def read(path: Path) -> list[Program]:
    """Return the programs of one file."""
    programs = []
    text = path.read_text()
    starts = [m.start() for m in re.finditer(r"^# -- ", text, re.M)]
    for start, end in zip(starts, [*starts[1:], len(text)], strict=True):
        head, *rest = text[start:end].rstrip().splitlines()
        said = {}
        while rest and (found := re.match(r"# (raises|error|once)(?:: (.*))?$", rest[0])):
            said[found[1]] = found[2]
            rest.pop(0)
        line = text[:end].rstrip().count("\n") + 2 - len(rest)
        programs.append(
            Program(
                path.stem,
                head.removeprefix("# -- "),
                line,
                "\n".join(rest) + "\n",
                said.get("raises"),
                said.get("error"),
                "once" in said,
            )
        )
    return programs


def missing(path: Path) -> str | None:
    """Return the requirement of a file that this Python lacks; empty if none."""
    for need in re.findall(r"^# needs: (.*)$", path.read_text().partition("# -- ")[0], re.M):
        if need.startswith("python "):
            if sys.version_info < tuple(map(int, need.split()[1].split("."))):
                return need
        elif importlib.util.find_spec(need) is None:
            return need
    return None


# -- The objects that a program sees as `dv`


class Here:
    """Runs everything in the process of the prompt."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def apply_sync(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return f(*args, **kwargs)

    def map_sync(self, f: Callable[..., Any], *sequences: Any) -> list[Any]:
        return [f(*args) for args in zip(*sequences, strict=True)]

    def push(self, names: dict[str, Any], block: bool = True) -> None:
        self._names.update(names)

    def execute(self, code: str, block: bool = True) -> None:
        exec(code, self._names)

    def __setitem__(self, name: str, value: Any) -> None:
        self._names[name] = value

    def __getitem__(self, name: str) -> Any:
        return eval(name, self._names)


class Engines:
    """Runs everything on the engines; all engines must return the same result."""

    def __init__(self, view: Any) -> None:
        self._view = view
        self._left: list[Callable[[Here], None]] = []

    def apply_sync(self, f: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return _agreed(self._view.apply_sync(f, *args, **kwargs))

    def map_sync(self, f: Callable[..., Any], *sequences: Any) -> list[Any]:
        return self._view.map_sync(f, *sequences)

    def push(self, names: dict[str, Any], block: bool = True) -> None:
        self._left.append(lambda here: here.push(names))
        self._view.push(names, block=True)

    def execute(self, code: str, block: bool = True) -> None:
        self._left.append(lambda here: here.execute(code))
        self._view.execute(code, block=True)

    def __setitem__(self, name: str, value: Any) -> None:
        self.push({name: value})

    def __getitem__(self, name: str) -> Any:
        return _agreed(self._view.pull(name, block=True))

    def leave(self, here: Here) -> None:
        """Define at the prompt the names that a program has pushed to the engines."""
        for give in self._left:
            give(here)


def _agreed(results: list[Any]) -> Any:
    first, *others = results
    for other in others:
        if form(other) != form(first):
            raise AssertionError(f"the engines disagree: {form(first)} and {form(other)}")
    return first


# -- Values as texts that are equal if the values are


def form(value: Any, above: tuple[int, ...] = ()) -> str:
    """Return a text for a value and its type, the same in each process."""
    kind = type(value)
    if id(value) in above:
        return "..."
    above = (*above, id(value))
    if kind in _PLAIN:
        return repr(value)
    if kind in _BRACKETS:
        return _BRACKETS[kind].replace("items", _items(value, above))
    if kind is dict:
        return f"{{{', '.join(f'{form(k, above)}: {form(v, above)}' for k, v in value.items())}}}"
    if isinstance(value, type):
        return f"class {_name(value)}"
    if isinstance(value, types.ModuleType):
        return f"module {value.__name__}"
    if isinstance(value, enum.Enum):
        return f"{_name(kind)}.{value.name}"
    if kind.__module__ == "builtins" and isinstance(value, (types.FunctionType, types.BuiltinFunctionType)):
        return f"function {value.__module__}.{value.__qualname__}"
    if isinstance(value, types.MethodType):
        return f"method {value.__func__.__qualname__} of {form(value.__self__, above)}"
    if kind.__module__ == "builtins" and kind not in (set, frozenset):
        if isinstance(value, BaseException):
            return f"{_name(kind)}({_items(value.args, above)})"
        return f"{kind.__name__} {value!r}"
    if kind.__module__.partition(".")[0] in ("numpy", "pandas", "scipy"):
        return _of_arrays(value, above)
    texts = []
    if isinstance(value, BaseException):
        texts.append(_items(value.args, above))
    elif isinstance(value, Mapping):
        texts.append(", ".join(f"{form(k, above)}: {form(v, above)}" for k, v in value.items()))
    elif isinstance(value, (set, frozenset)):
        texts.append(", ".join(sorted(form(v, above) for v in value)))
    elif isinstance(value, (list, tuple, deque)):
        texts.append(_items(value, above))
    elif isinstance(value, (int, float, complex, str, bytes, bytearray)):
        texts.append(next(base for base in kind.__mro__ if base.__module__ == "builtins").__repr__(value))
    elif kind.__module__ != "__main__" and (
        kind.__repr__ is not object.__repr__ and not hasattr(value, "__dict__")
    ):
        texts.append(repr(value))
    return f"{_name(kind)}({'; '.join(texts + _state(value, above))})"


_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_BRACKETS = {list: "[items]", tuple: "(items)"}


def _items(values: Any, above: tuple[int, ...]) -> str:
    return ", ".join(form(v, above) for v in values)


def _state(value: Any, above: tuple[int, ...]) -> list[str]:
    """Return the attributes of an object, with those in slots."""
    state = dict(getattr(value, "__dict__", {}))
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in [slots] if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                state[name] = getattr(value, name)
    return [f"{name}={form(part, above)}" for name, part in sorted(state.items())]


def _name(kind: type) -> str:
    """Return the name of a class, with a mark if the prompt has another class of this name."""
    if kind.__module__ != "__main__":
        return (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
    found: Any = sys.modules["__main__"]
    for part in kind.__qualname__.split("."):
        found = getattr(found, part, None)
    stranger = isinstance(found, type) and found is not kind
    return f"{kind.__qualname__}, which is not the prompt's," if stranger else kind.__qualname__


def _of_arrays(value: Any, above: tuple[int, ...]) -> str:
    kind = type(value)
    name = _name(kind)
    if kind.__module__ == "numpy" and hasattr(value, "dtype"):
        masked = f" masked {value.mask.tolist()!r}" if hasattr(value, "mask") else ""
        return f"{name} {value.dtype} {value.shape} {form(value.tolist(), above)}{masked}"
    if hasattr(value, "to_dict"):
        types_ = value.dtypes.to_dict() if hasattr(value, "columns") else value.dtype
        return f"{name} {types_!s} {value.to_dict()!r}"
    if hasattr(value, "toarray"):  # a sparse matrix
        return f"{name} {form(value.toarray(), above)}"
    if isinstance(value, Mapping):  # a result of scipy
        return f"{name}({', '.join(f'{k}: {form(v, above)}' for k, v in sorted(value.items()))})"
    if isinstance(value, tuple):
        return f"{name}({_items(value, above)})"
    return f"{name} {value!r}"


# -- Prompts, and the run of a program


class Script:
    """A script as the prompt: the statements run in the real ``__main__`` of this process."""

    def __init__(self) -> None:
        self.names = sys.modules["__main__"].__dict__
        self._always = {k: v for k, v in self.names.items() if k.startswith("__")}

    def clear(self) -> None:
        """Restore the namespace of the start."""
        self.names.clear()
        self.names.update(self._always)

    def run(self, program: Program) -> Iterator[Any]:
        """Yield the value of the last line, computed anew each time."""
        filename = str(CORPUS / f"{program.topic}.py")
        body, last = program.parts
        tree = ast.Module(body, [])
        offset = program.line - 1
        exec(compile(ast.increment_lineno(tree, offset), filename, "exec", dont_inherit=True), self.names)
        expression = ast.increment_lineno(ast.Expression(last), offset)
        while True:
            yield eval(compile(expression, filename, "eval", dont_inherit=True), self.names)


class IPython:
    """A real IPython as the prompt: the program is typed cell by cell."""

    def __init__(self) -> None:
        from IPython.terminal.ipapp import TerminalIPythonApp

        app = TerminalIPythonApp.instance()
        app.initialize(["--quick", "--no-banner", "--simple-prompt", "--HistoryManager.enabled=False"])
        self._shell = app.shell
        self._shell.displayhook.cache_size = 0
        self.names = self._shell.user_ns
        self._always = dict(self.names)

    def clear(self) -> None:
        """Restore the namespace of the start."""
        self._shell.compile.reset_compiler_flags()
        self.names.clear()
        self.names.update(self._always)

    def run(self, program: Program) -> Iterator[Any]:
        """Yield the value of the last cell, computed anew each time."""
        *cells, last = program.cells
        for cell in cells:
            self._cell(cell)
        while True:
            yield self._cell(last)

    def _cell(self, text: str) -> Any:
        done = self._shell.run_cell(text, store_history=True)
        error = done.error_before_exec or done.error_in_exec
        if error is not None:
            raise error
        return done.result


def outcome(prompt: Script | IPython, program: Program, dv: Here | Engines) -> list[str]:
    """Return the value of the last line, twice computed, as texts; an error is a text too."""
    here = Here(prompt.names)
    prompt.clear()
    prompt.names["dv"] = dv
    found = []
    signal.alarm(PROGRAM_TIMEOUT)
    try:
        values = prompt.run(program)
        found.append(form(next(values)))
        if not program.once:
            if isinstance(dv, Engines):
                dv.leave(here)
            prompt.names["dv"] = here
            found.append(form(next(values)))
    except BaseException as e:
        found.append(_error(e) + (f"\n{e}" if program.error else ""))
    finally:
        signal.alarm(0)
    return found


def _error(error: BaseException) -> str:
    """Return ``raised Name: text`` for an exception, or for the one on an engine."""
    failures = getattr(error, "elist", None) or [error]
    name = getattr(failures[0], "ename", type(failures[0]).__name__)
    said = getattr(failures[0], "evalue", str(failures[0]))
    hint = getattr(failures[0], "engine_info", {}).get("hint")
    return f"raised {name}: {said}" + (f" ({hint})" if hint else "")


def check(prompt: Script | IPython, program: Program, view: Any) -> dict[str, Any] | None:
    """Run a program at the prompt and on the engines; return the difference, if any."""
    expected = outcome(prompt, program, Here(prompt.names))
    failed = expected[-1].startswith("raised ")
    if failed != bool(program.raises) or (failed and not expected[0].startswith(f"raised {program.raises}:")):
        return {"title": program.title, "expected": program.raises or "a value", "got": expected}
    view.clear(block=True)
    got = outcome(prompt, program, Engines(view))
    if "no result after" in got[-1]:
        view.client.abort()
        view.client.interrupt()
    if program.error:
        held = got[0].startswith("raised ") and re.search(program.error, got[0], re.S) is not None
        expected = [f"an error with {program.error!r}"]
    else:
        held = got == expected
    if len({*expected}) == len({*got}) == 1:
        expected, got = expected[:1], got[:1]
    return (
        None
        if held
        else {"title": program.title, "expected": ", then ".join(expected), "got": ", then ".join(got)}
    )


def serve(kind: str, connection_file: str, replies: int) -> None:
    """Read names of topics from the standard input; answer each with the failures, as a line of JSON."""
    import mpidirect

    def late(*_: object) -> None:
        raise TimeoutError(f"no result after {PROGRAM_TIMEOUT} s")

    signal.signal(signal.SIGALRM, late)
    client = mpidirect.Client(connection_file)
    view = client[:2]
    prompt = IPython() if kind == "ipython" else Script()
    builtin_names = set(vars(builtins))
    with os.fdopen(replies, "w") as answers:
        for line in sys.stdin:
            asked = json.loads(line)
            wrong = []
            programs = [p for p in read(CORPUS / f"{asked['topic']}.py") if asked["only"] in p.title]
            for program in programs:
                found = check(prompt, program, view)
                if found is not None:
                    wrong.append(found)
            linecache.checkcache()
            for name in sorted(set(vars(builtins)) - builtin_names):
                if name.startswith("_"):  # names of IPython and of extension modules
                    continue
                wrong.append({"title": "(all)", "expected": "no new builtins", "got": [name]})
                delattr(builtins, name)
            answers.write(json.dumps({"programs": len(programs), "wrong": wrong}) + "\n")
            answers.flush()
    prompt.clear()
    client.close()


if __name__ == "__main__":
    import corpus_runner  # so that the prompt has none of the names of this module

    corpus_runner.serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
