"""The settings of a cluster from all sources.

The sources in increasing priority: defaults, the site's file, the profile's file, the environment, flags or
keywords.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..files.ownership import read_shared, read_trusted
from .option import Option
from .options import Options

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SITE_FILE = "/etc/mpidirect/config.toml"  # MPIDIRECT_SITE_CONFIG names another


class Setting(NamedTuple):
    """A value and its source."""

    value: Any
    source: str


class Settings(Mapping[str, Any]):
    """The value of each option, and its source."""

    def __init__(self, settings: dict[str, Setting]) -> None:
        self._settings = settings

    def __getitem__(self, name: str) -> Any:
        return self._settings[name].value

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def __len__(self) -> int:
        return len(self._settings)

    def __repr__(self) -> str:
        return f"Settings({dict(self)})"

    def source(self, name: str) -> str:
        """Return the source of the value of option `name`."""
        return self._settings[name].source


def resolve(
    profile_file: Path, given: Mapping[str, Any] | None = None, options: Options | None = None
) -> Settings:
    """Return the settings of a cluster.

    Parameters
    ----------
    profile_file : Path
        The profile's ``config.toml``; it need not exist.
    given : mapping, optional
        The values of flags or keywords; None means not given.
    options : Options, optional
        All options.

    Raises
    ------
    ConfigError
        When a value is wrong: the message names its source and the right form.
    """
    options = options or Options()
    settings = dict(defaults(options)._settings)
    for file in (site_file(), profile_file):
        settings.update(_from_file(file, options))
    for name, option in options.all.items():
        raw = os.environ.get(option.variable)
        if raw is not None:
            settings[name] = Setting(_checked(options, name, raw, option.variable), option.variable)
    for name, raw in (given or {}).items():
        if raw is not None:
            settings[options.find(name).name] = Setting(_checked(options, name, raw, "given"), "given")
    return Settings(settings)


def defaults(options: Options) -> Settings:
    """Return the default of each option."""
    return Settings({name: Setting(option.default, "default") for name, option in options.all.items()})


def site_file() -> Path:
    """Return the file that a site's administrator keeps for all users."""
    return Path(os.environ.get("MPIDIRECT_SITE_CONFIG") or SITE_FILE)


def early_value(name: str, profile_file: Path, given: Mapping[str, Any]) -> str:
    """Return the value of option `name`, a text, before the options of the launcher are known."""
    option = Options().all[name]
    for value in (given.get(name), os.environ.get(option.variable)):
        if value is not None:
            return str(value)
    for file in (profile_file, site_file()):
        value = _load(file)[0].get(name)
        if isinstance(value, str):
            return value
    return str(option.default)


def launcher_name(profile_file: Path, given: Mapping[str, Any]) -> str:
    """Return the name of the launcher that the settings choose."""
    return early_value("launcher", profile_file, given)


def _from_file(file: Path, options: Options) -> dict[str, Setting]:
    """Return the settings of a file."""
    values, lines = _load(file)
    settings = {}
    for name, raw in values.items():
        number = _line_of(name, lines)
        where = f"{file}, line {number}" if number else str(file)
        excerpt = f"\n    {lines[number - 1].strip()}" if number else ""
        value = _checked(options, name, raw, where, excerpt)
        settings[options.find(name).name] = Setting(value, where)
    return settings


def _load(file: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the values and the lines of a file; nothing if the file does not exist."""
    try:
        text = (read_shared if file == site_file() else read_trusted)(file).decode()
    except (FileNotFoundError, NotADirectoryError):
        return {}, []
    except (OSError, UnicodeDecodeError) as e:
        raise ConfigError(f"{file} can't be read: {e}") from None
    lines = text.splitlines()
    try:
        return tomllib.loads(text), lines
    except tomllib.TOMLDecodeError as e:
        found = re.search(r"line (\d+)", str(e))
        number = min(int(found[1]), len(lines)) if found else len(lines)  # "at end of document" has no number
        excerpt = f"\n    {lines[number - 1].strip()}" if number else ""
        message = re.sub(r" \(at .*\)$", "", str(e))
        raise ConfigError(f"{file}, line {number}: this is not TOML: {message}{excerpt}") from None


def _line_of(name: str, lines: list[str]) -> int:
    """Return the number of the line that sets `name`, or opens a table of that name; 0 if not found."""
    pattern = re.compile(rf"""\s*\[*\s*["']?{re.escape(name)}["']?\s*(=|\.|\])""")
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), 0)


def _checked(options: Options, name: str, raw: Any, where: str, excerpt: str = "") -> Any:
    try:
        return options.value(name, raw)
    except ConfigError as e:
        raise ConfigError(f"{where}: {e}{excerpt}" if where != "given" else str(e)) from None


def commented_defaults(options: Iterable[Option], chosen: Mapping[str, Any] | None = None) -> str:
    """Return the text of a new ``config.toml`` with the `chosen` values, and the defaults as comments."""
    chosen = chosen or {}
    parts = [_HEADING]
    for option in options:
        if option.name in chosen:
            line = f"{option.name} = {_toml(chosen[option.name])}"
        else:
            line = f"# {option.name} = {option.example or _toml(option.default)}"
        parts.append(f"\n# {option.help}\n{line}\n")
    return "".join(parts)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"{value:g}" if isinstance(value, float) else str(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(item) for item in value)}]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


_HEADING = """\
# The settings of this profile. Remove the '# ' of a line to change its value.
#
# Weaker: the site's file. Stronger: MPIDIRECT_* in the environment (MPIDIRECT_N=8), flags (-n 8), and the
# keywords of Cluster(n=8). The values in effect, and their sources:  mpidirect profile show
"""
