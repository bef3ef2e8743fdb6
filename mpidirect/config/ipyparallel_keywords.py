"""Keywords of ipyparallel that have another meaning here, or no meaning."""

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
    """Remove the keywords that have no meaning here, and warn.

    Parameters
    ----------
    what : str
        The name of the callable, for the warning.
    options : dict
        The keywords; changed in place.
    """
    for name in [name for name in options if name in IGNORED and not _is_option(name, options[name])]:
        value = options.pop(name)
        if value not in (None, False, ""):
            warnings.warn(f"{what}({name}=…) of ipyparallel is ignored: {IGNORED[name]}", stacklevel=4)


def _is_option(name: str, value: Any) -> bool:
    """Whether this is a value of an option that has the same name as a keyword of ipyparallel."""
    option = Options().all.get(name)
    try:
        return option is not None and bool(option.check(value))
    except ValueError:
        return False


def profile_name(profile: str, profile_dir: Any, cluster_id: Any) -> str:
    """Return the name of a cluster, for `Profile`: the profile's name, or ``PROFILE:ID``.

    The cluster that a profile has without an id is found by the id of its job, too.
    """
    from pathlib import PurePath

    from ..files.profiles import Profile

    name = profile or (PurePath(profile_dir).name.removeprefix("profile_") if profile_dir else "")
    if not cluster_id:
        return name
    named = Profile(name).with_cluster(str(cluster_id))
    unnamed = named.with_cluster("")
    record = unnamed.record()
    return unnamed.name if record is not None and record.cluster == cluster_id else named.name
