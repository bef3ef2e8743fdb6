"""The checks of this host: network, files, shared memory."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from ..files.private_directories import socket_directory
from ..files.profiles import Profile, home_path, profile_names
from .findings import Finding, bad, doubt, good


def check_network(ip: str) -> Iterator[Finding]:
    """Check the interfaces, the setting ``ip`` and the host's name."""
    import psutil

    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    addresses = {
        name: [a.address for a in found if a.family in (socket.AF_INET, socket.AF_INET6)]
        for name, found in psutil.net_if_addrs().items()
        if name in up
    }
    addresses = {name: found for name, found in addresses.items() if found}
    listed = "; ".join(f"{name} {', '.join(found)}" for name, found in addresses.items())
    if not any(a.startswith("127.") or a == "::1" for found in addresses.values() for a in found):
        yield bad("network", f"no loopback interface is up: {listed}", "ip link set lo up")
    elif ip and ip != "*" and ip not in addresses and all(ip not in found for found in addresses.values()):
        yield doubt(
            "network",
            f'ip = "{ip}" is no address or interface here: {listed}',
            "Right only if rank 0 has it.",
        )
    else:
        yield good("network", listed)
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError as e:
        yield doubt("host name", f"{name} has no address: {e}", f"Add '127.0.1.1 {name}' to /etc/hosts.")


def check_profiles() -> Iterator[Finding]:
    """Check the directory of profiles."""
    directory = home_path()
    if not directory.exists():
        parent = directory.parent
        if not os.access(parent, os.W_OK):
            yield bad("profiles", f"{parent} can't be written", "Set MPIDIRECT_DIR to a directory of yours.")
        else:
            yield good("profiles", f"{directory} will be made at the first start")
        return
    status = directory.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.getuid():
        yield bad("profiles", f"{directory} is another user's", "Set MPIDIRECT_DIR to a directory of yours.")
        return
    if mode & 0o077:
        yield bad("profiles", f"{directory} is open to others (mode {mode:04o})", f"chmod 700 {directory}")
        return
    yield _file_system(directory)
    for name in profile_names():
        mode = stat.S_IMODE(Profile(name).directory.stat().st_mode)
        if mode & 0o077:
            where = Profile(name).directory
            yield bad("profiles", f"{where} is open to others (mode {mode:04o})", f"chmod 700 {where}")


def _file_system(directory: Path) -> Finding:
    """Return whether files can be private, renamed and locked, which some network file systems can't do."""
    elsewhere = "Set MPIDIRECT_DIR to a directory on another file system."
    path = directory / f".doctor-{os.getpid()}"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            if mode != 0o600:
                return bad("profiles", f"files in {directory} can't be private (mode {mode:04o})", elsewhere)
            path = path.rename(path.with_suffix(".renamed"))
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return doubt(
                    "profiles",
                    f"{directory} has no locks",
                    "Two starts of a profile at the same time may both succeed. " + elsewhere,
                )
        finally:
            os.close(descriptor)
            path.unlink(missing_ok=True)
    except OSError as e:
        return bad("profiles", f"{directory} can't be written: {e}", elsewhere)
    free = shutil.disk_usage(directory).free
    if free < 100 << 20:
        return doubt("profiles", f"{directory} has {free >> 20} MiB left", "Make room; logs go there.")
    return good("profiles", f"{directory} is private, and can be written and locked")


def check_temporary_files() -> Iterator[Finding]:
    """Check the directory of local sockets."""
    directory = socket_directory("").parent  # TMPDIR, unless its name is too long
    if not os.access(directory, os.W_OK | os.X_OK):
        yield bad("temporary files", f"{directory} can't be written", "Set TMPDIR to a directory of yours.")
    else:
        yield good("temporary files", f"local sockets go to {directory}")


def check_shared_memory() -> Iterator[Finding]:
    """Check the size of /dev/shm."""
    directory = Path("/dev/shm")
    if not directory.is_dir():
        return
    total = shutil.disk_usage(directory).total
    if total < 256 << 20:
        yield doubt(
            "shared memory",
            f"/dev/shm has {total >> 20} MiB; MPI wants some 16 MiB for each engine",
            "In a container: docker run --shm-size=1g",
        )
    else:
        yield good("shared memory", f"/dev/shm has {total >> 20} MiB")
