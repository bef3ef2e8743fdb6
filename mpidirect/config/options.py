"""What can be set: one definition of each option, for flags, ``config.toml``, the environment and `Cluster`.

The option ``start_timeout`` is the keyword ``Cluster(start_timeout=…)``, the line ``start_timeout = …`` of a
``config.toml``, the variable ``MPIDIRECT_START_TIMEOUT`` and the flag ``--start-timeout``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError

Check = Callable[[Any], Any]  # gives the value in its final form, or raises ValueError with what is expected


@dataclass(frozen=True)
class Option:
    """One thing that can be set.

    Attributes
    ----------
    name : str
        The keyword and the key in ``config.toml``.
    check : callable
        Makes a value of what a file, a flag or a keyword gave; raises ValueError.
    default : object
        The value when nothing is set.
    help : str
        One sentence, for ``--help`` and for the comment in ``config.toml``.
    metavar : str
        What stands for the value in ``--help``.
    example : str
        A value as it would be written in ``config.toml``, if the default says too little.
    flags : tuple of str
        More flags than the one made of the name.
    aliases : tuple of str
        Other names of the same, as keywords, in files and as flags.
    many : bool
        Whether the value is a list of lines: its flag can be repeated.
    """

    name: str
    check: Check
    default: Any
    help: str
    metavar: str
    example: str = ""
    flags: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    many: bool = False

    @property
    def variable(self) -> str:
        """The environment variable of this option."""
        return f"MPIDIRECT_{self.name.upper()}"

    @property
    def declarations(self) -> tuple[str, ...]:
        """The flags of this option."""
        names = (*self.aliases, self.name)
        own = (f"--{name.replace('_', '-')}" if len(name) > 1 else f"-{name}" for name in names)
        return (*self.flags, *own)


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError("a text in quotes")
    return value.strip()


def positive(value: Any) -> int:
    """A whole number above zero, or its digits."""
    number = _number(value, int, "a whole number of at least 1")
    if number < 1:
        raise ValueError("a whole number of at least 1")
    return int(number)


def seconds(value: Any) -> float:
    """A time in seconds, also as ``90s``, ``5m``, ``1h``."""
    expected = "seconds, or a time like 90s, 5m, 1h"
    factor = 1
    if isinstance(value, str) and value[-1:] in _UNITS:
        value, factor = value[:-1], _UNITS[value[-1]]
    number = _number(value, float, expected)
    if not 0 <= number < float("inf"):
        raise ValueError(expected)
    return number * factor


def size(value: Any) -> int:
    """A number of bytes, also as ``512 MiB``, ``2GB``."""
    expected = "bytes, or a size like 512MiB, 2GB"
    if isinstance(value, str):
        found = re.fullmatch(r"\s*([0-9.]+)\s*([kKMGT]?)(i?)[bB]?\s*", value)
        if not found:
            raise ValueError(expected)
        number, prefix, binary = found.groups()
        power = " KMGT".index(prefix.upper() or " ")
        return int(_number(number, float, expected) * (1024 if binary else 1000) ** power)
    return int(_number(value, int, expected))


def walltime(value: Any) -> str:
    """How long a job may run: ``90m``, ``2h``, ``1d``, ``H:MM:SS`` or ``D-HH:MM:SS``; as ``H:MM:SS``.

    No plain number: one scheduler takes it for minutes, the other for seconds.
    """
    expected = "a time like 90m, 2h, 1:30:00 or 2-00:00:00"
    if not isinstance(value, str):
        raise ValueError(expected)
    found = re.fullmatch(r"(?:(?:(\d+)-)?(\d+):)?(\d+):(\d+)", value.strip())
    if found:
        days, hours, minutes, rest = (int(part or 0) for part in found.groups())
        total = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    else:
        try:
            total = int(seconds(value)) if value[-1:] in _UNITS else 0
        except ValueError:
            total = 0
    if not total:
        raise ValueError(expected)
    return f"{total // 3600}:{total // 60 % 60:02}:{total % 60:02}"


def lines(value: Any) -> tuple[str, ...]:
    """Some lines: a list of texts, or one text of them."""
    if isinstance(value, str):
        value = value.splitlines()
    if not isinstance(value, (list, tuple)) or not all(isinstance(line, str) for line in value):
        raise ValueError('lines, like ["module load openmpi", "conda activate work"]')
    return tuple(line for text in value for line in text.splitlines())


def one_of(*choices: str) -> Check:
    """One of some words."""

    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(" or ".join(map(repr, choices)))
        return str(value)

    return check


def port(value: Any) -> str:
    """A port or a range of ports, ``0`` for any."""
    found = re.fullmatch(r"(\d+)(?:-(\d+))?", str(value).strip())
    expected = "a port, a range like 40000-40100, or 0 for any"
    if not found or isinstance(value, bool):
        raise ValueError(expected)
    first, last = int(found[1]), int(found[2] or found[1])
    if not first <= last <= 65535:
        raise ValueError(expected)
    return found[0]


_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _number(value: Any, kind: type, expected: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError(expected)
    try:
        number = kind(value)
    except (ValueError, OverflowError):
        raise ValueError(expected) from None
    if not isinstance(value, str) and number != value:
        raise ValueError(expected)
    return number


COMMON = (
    Option("n", positive, None, "The number of engines; one per core if not said.", "N", "4", ("--engines",)),
    Option("launcher", text, "mpiexec", "What starts the job.", "NAME"),
    Option(
        "python",
        text,
        "",
        "The Python that runs the engines; the one that runs this command if not said.",
        "PATH",
        '"/opt/env/bin/python"',
    ),
    Option(
        "mpiexec",
        text,
        "",
        "What starts the ranks: the mpiexec of the MPI that mpi4py loads, srun or a site's command, with "
        "arguments if need be; an mpiexec is found if not said.",
        "CMD",
        '"/opt/openmpi/bin/mpiexec --host node1:8,node2:8"  # or "srun --mpi=pmi2"',
    ),
    Option(
        "ip",
        text,
        "",
        "What the controller listens on besides its host: an address, an interface, or * for all of them; "
        "* for the jobs of a scheduler if not said.",
        "ADDRESS",
        '"ib0"',
        ("--interface",),
    ),
    Option(
        "port",
        port,
        "0",
        "The controller's port or a range to choose from; 0 is any.",
        "PORT",
        '"40000-40100"',
    ),
    Option(
        "start_timeout",
        seconds,
        120.0,
        "How long all engines may take to answer.",
        "TIME",
        '"5m"',
        ("--timeout",),
    ),
    Option("stop_timeout", seconds, 10.0, "How long a stop may take before the job is killed.", "TIME"),
    Option(
        "gpu_bind",
        one_of("auto", "none"),
        "auto",
        "Whether each engine sees its own GPU alone, where nothing else has chosen some for it ('auto'), or "
        "all of its host ('none').",
        "HOW",
    ),
    Option(
        "bind",
        one_of("none", "hwthread", "core", "numa", "socket"),
        "none",
        "What each engine is bound to: cores of its own, as many as --cpus-per-task says ('core', "
        "'hwthread'), or a part of the host that it shares ('numa', 'socket').",
        "TO",
    ),
    Option("budget", size, 1 << 30, "How much of results is held for absent clients.", "SIZE", '"1GiB"'),
    Option("keep_logs", positive, 5, "The number of clusters whose logs are kept.", "N"),
)


# What a job asks of a scheduler. Known with every launcher: a site's file may set some for all clusters.
BATCH = (
    Option("nodes", positive, None, "The number of nodes.", "N", "2"),
    Option("ntasks_per_node", positive, None, "The number of engines on each node.", "N", "16"),
    Option("cpus_per_task", positive, None, "The number of cores for each engine.", "N", "1"),
    Option("mem", text, "", "The memory on each node, as the scheduler writes it.", "SIZE", '"8G"'),
    Option("gpus", positive, None, "The number of GPUs on each node.", "N", "1"),
    Option("gpus_per_task", positive, None, "The number of GPUs for each engine.", "N", "1"),
    Option("walltime", walltime, None, "How long the job may run.", "TIME", '"2h"'),
    Option(
        "queue", text, "", "The queue, or partition, of the job.", "NAME", '"short"', aliases=("partition",)
    ),
    Option("account", text, "", "The account, or project, that pays.", "NAME", '"physics"'),
    Option("qos", text, "", "The quality of service.", "NAME", '"normal"'),
    Option("constraint", text, "", "What the nodes must have.", "LIST", '"skylake"'),
    Option("job_name", text, "mpidirect", "The job's name.", "NAME"),
    Option("output", text, "", "Where the job's output goes besides its log.", "PATH", '"mpidirect-%j.out"'),
    Option(
        "prologue",
        lines,
        (),
        "A line that the job's script runs first; can be repeated.",
        "LINE",
        '["module load openmpi", "conda activate work"]',
        many=True,
    ),
    Option(
        "directives",
        lines,
        (),
        "A directive more, without its '#SBATCH' or '#PBS'; can be repeated.",
        "LINE",
        '["--exclusive"]',
        aliases=("directive",),
        many=True,
    ),
    Option(
        "without",
        lines,
        (),
        "Leave out directives that begin so; can be repeated.",
        "DIRECTIVE",
        '["--no-requeue"]',
        many=True,
    ),
    Option(
        "template",
        text,
        "",
        "A file that the script is made of instead, with {directives}, {prologue}, {environment}, {command}.",
        "FILE",
        '"/shared/job.template"',
    ),
    Option(
        "controller",
        one_of("shared", "slot", "node"),
        "shared",
        "Where the controller runs: on the first node beside the engines, a rank more than there are tasks "
        "('shared'), on a task of its own there ('slot'), or on a node more, alone ('node').",
        "WHERE",
    ),
    Option(
        "queue_timeout",
        seconds,
        None,
        "How long the job may wait in the queue; without end if not said.",
        "TIME",
        '"30m"',
    ),
    Option("walltime_warning", seconds, 300.0, "How long before its walltime clients warn.", "TIME", '"5m"'),
)


class Options:
    """The options there are: `COMMON`, `BATCH` and what a launcher adds."""

    def __init__(self, extra: Iterable[Option] = ()) -> None:
        self.all = {option.name: option for option in (*COMMON, *BATCH, *extra)}
        self.aliases = {alias: option.name for option in self.all.values() for alias in option.aliases}

    def known(self, name: str) -> Option:
        """The option of this name, or an error that suggests the nearest one."""
        try:
            return self.all[self.aliases.get(name, name)]
        except KeyError:
            close = difflib.get_close_matches(name.replace("-", "_").lower(), self.all, 1, 0.5)
            hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(self.all)}"
            raise ConfigError(f"unknown option '{name}'; {hint}") from None

    def check_names(self, names: Iterable[str]) -> None:
        """Raise ConfigError for the first name that is no option's."""
        for name in names:
            self.known(name)

    def value(self, name: str, given: Any) -> Any:
        """What `given` means for option `name`."""
        option = self.known(name)
        try:
            return option.check(given)
        except ValueError as e:
            raise ConfigError(f"{name} = {_shown(given)}: this should be {e}") from None


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)
