"""Keywords of ipyparallel's that mean something else here, or nothing: said plainly."""

from __future__ import annotations

import warnings
from typing import Any

from .options import Options

SSH = "name the key and the user for the host in ~/.ssh/config"
IGNORED = {
    "context": "there is no context of ZeroMQ",
    "debug": "use Python's logging",
    "ipython_dir": "profiles are not IPython's: see MPIDIRECT_DIR",
    "sshkey": SSH,
    "password": SSH,
    "paramiko": "the ssh command is used",
    "controller": "the controller is a rank of the job",
    "controller_ip": "the controller listens where clients need it",
    "controller_location": "the controller tells its host by itself",
    "controller_args": "see the options of the profile",
    "engine_timeout": "see the option start_timeout",
    "delay": "engines start together",
    "load_profile": "the settings of the profile hold",
    "send_engines_connection_env": "engines get what they need over MPI",
    "log_level": "see the option log_level of the profile, and Python's logging",
    "parent": "there is no configuration of traitlets",
    "config": "there is no configuration of traitlets",
    "log": "see Python's logging",
}


def drop_ignored(what: str, options: dict[str, Any]) -> None:
    """Take out what means nothing here, and say so."""
    for name in [name for name in options if name in IGNORED and not _is_ours(name, options[name])]:
        value = options.pop(name)
        if value not in (None, False, ""):
            warnings.warn(f"{what}({name}=…) of ipyparallel is ignored: {IGNORED[name]}", stacklevel=4)


def _is_ours(name: str, value: Any) -> bool:
    """Whether this is a setting of ours that has the name of a keyword of ipyparallel's."""
    option = Options().all.get(name)
    try:
        return option is not None and bool(option.check(value))
    except ValueError:
        return False


def profile_name(profile: str, profile_dir: Any, cluster_id: Any) -> str:
    """The profile that is meant: here each has one cluster, so an id makes another profile."""
    from pathlib import PurePath

    name = profile or (PurePath(profile_dir).name.removeprefix("profile_") if profile_dir else "")
    return f"{name or 'default'}-{cluster_id}" if cluster_id else name
