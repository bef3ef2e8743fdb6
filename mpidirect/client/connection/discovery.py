"""Find the cluster of a client."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ... import errors
from ...config import config
from ...files import connection_file
from ...files.connection_file import ConnectionInfo
from ...files.hosts import is_this_host
from .tunnel import fetch


def find(given: Any, profile: str, contents: dict[str, Any], sshserver: str) -> ConnectionInfo:
    """Return how to connect, by the arguments of `Client`; without arguments, to the profile's cluster."""
    if isinstance(given, ConnectionInfo):
        return given
    unknown = sorted(contents.keys() - set(ConnectionInfo.__struct_fields__))
    if unknown:
        raise TypeError(f"Client() has no option {unknown[0]!r}")
    if isinstance(given, dict) or contents:
        return connection_file.from_mapping({**(given or {}), **contents})
    from ...files.profiles import find_connection_file, profile_names

    if given is not None:
        file = Path(given).expanduser()
        if not file.is_file() and given in profile_names():
            raise errors.ClusterNotFound(
                f"There is no connection file {given}. For the profile:  Client(profile={given!r})"
            )
        return connection_file.read(file)

    try:
        info = connection_file.read(find_connection_file(profile))
    except errors.ClusterNotFound:
        if not sshserver:
            raise
        return fetch(sshserver, profile)
    # A cluster on this host needs no tunnel, so the user means the cluster of this profile on `sshserver`.
    return fetch(sshserver, profile) if sshserver and is_this_host(info.host) else info


def server_of(profile: str) -> str:
    """Return the setting ``ssh`` of a profile; empty if this host has a connection file of the profile."""
    from ...files.profiles import Profile, find_connection_file

    try:
        server = config.early_value("ssh", Profile(profile).config_file, {})
    except errors.Untrusted:
        raise
    except errors.ConfigError:  # a mistake in a configuration file must not keep a client from its cluster
        return ""
    try:
        return "" if server and find_connection_file(profile) else server
    except errors.ClusterNotFound:
        return server


def absent(error: errors.ClusterNotFound, profile: str) -> errors.ClusterNotFound:
    """Return `error` with what the user should know: the profile's cluster was started, but isn't found."""
    from ...files.profiles import Profile
    from ...launchers.scheduled_jobs import missing_cluster_reason

    told = missing_cluster_reason(Profile(profile))
    return errors.ClusterNotFound(told) if told else error
