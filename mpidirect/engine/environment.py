"""The environment of programs on an engine: names and variables for rank and host, and its GPUs."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..protocol import messages

if TYPE_CHECKING:
    from mpi4py import MPI

# Slurm's variables with the same meaning. They are changed only if they are set: they may be those of MPI's
# daemon that has started the engines.
_SLURM = {
    "SLURM_PROCID": "RANK",
    "SLURM_LOCALID": "LOCAL_RANK",
    "SLURM_NTASKS": "WORLD_SIZE",
    "SLURM_NPROCS": "WORLD_SIZE",
    "SLURM_STEP_NUM_TASKS": "WORLD_SIZE",
    "SLURM_NTASKS_PER_NODE": "LOCAL_WORLD_SIZE",
}
_STEP_OF_DAEMONS = "SLURM_STEP_TASKS_PER_NODE"  # Counts MPI's daemons, one for each node.
Environment = MutableMapping[str, str]


class EnginePlace(NamedTuple):
    """The host of an engine, and a port there.

    Attributes
    ----------
    host : str
        The name of the host.
    port : int
        A port that was free.
    """

    host: str
    port: int


def gather(comm: MPI.Intracomm) -> list[EnginePlace]:
    """Return the places of the engines of `comm`, by rank; all engines call this together."""
    with socket.socket() as free:
        free.bind(("", 0))
        place = EnginePlace(socket.gethostname(), free.getsockname()[1])
    return comm.allgather(place)


_master: dict[str, str] = {}  # The variables of the first engine, as this module has set them.


def enter(places: Sequence[EnginePlace], rank: int, environment: Environment = os.environ) -> dict[str, Any]:
    """Set the environment variables of an engine.

    Parameters
    ----------
    places : sequence of EnginePlace
        The places of all engines, by rank.
    rank : int
        The rank of this engine.
    environment : mapping
        The environment.

    Returns
    -------
    dict
        The names of the namespace with the same information: ``rank``, ``size``, ``local_rank``, …
    """
    host = places[rank].host
    on_host = [k for k, place in enumerate(places) if place.host == host]
    names = {
        "rank": rank,
        "size": len(places),
        "local_rank": on_host.index(rank),
        "local_size": len(on_host),
        "node": host,
    }
    variables = {
        "RANK": str(rank),
        "WORLD_SIZE": str(len(places)),
        "LOCAL_RANK": str(names["local_rank"]),
        "LOCAL_WORLD_SIZE": str(len(on_host)),
    }
    environment.update(variables)
    environment.update({name: variables[same] for name, same in _SLURM.items() if name in environment})
    environment.pop(_STEP_OF_DAEMONS, None)
    first = places[0]
    master = {
        "MASTER_ADDR": "127.0.0.1" if len(on_host) == len(places) else first.host,
        "MASTER_PORT": str(first.port),
    }
    for name, value in master.items():
        if environment.get(name) in (None, _master.get(name)):
            environment[name] = _master[name] = value
    return names


# -- GPUs -----------------------------------------------------------------------------------------------


class _Vendor(NamedTuple):
    """A vendor of devices.

    Attributes
    ----------
    name : str
        The name of its programming interface.
    variable : str
        The environment variable that selects devices.
    others : tuple of str
        Other variables that select devices.
    pci_id : str
        The vendor's PCI id; empty if its devices have names of their own.
    """

    name: str
    variable: str
    others: tuple[str, ...]
    pci_id: str


_VENDORS = (
    _Vendor("CUDA", "CUDA_VISIBLE_DEVICES", (), ""),
    _Vendor("ROCm", "ROCR_VISIBLE_DEVICES", ("HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"), "0x1002"),
    _Vendor("Level Zero", "ZE_AFFINITY_MASK", ("ONEAPI_DEVICE_SELECTOR",), "0x8086"),
)


def bind(
    local_rank: int, local_size: int, environment: Environment = os.environ, root: Path = Path("/")
) -> None:
    """Let this engine see only its share of the host's devices, unless a variable already selects devices.

    This loads no library: libraries read the variables when they are loaded.
    """
    for vendor in _VENDORS:
        count = _count(vendor, root)
        if count and not _selecting_variable(vendor, environment):
            environment[vendor.variable] = ",".join(map(str, share(count, local_rank, local_size)))


def share(count: int, local_rank: int, local_size: int) -> range:
    """Return the devices of an engine: several devices for each engine, or one for several engines.

    Examples
    --------
    >>> [list(share(4, k, 2)) for k in range(2)]
    [[0, 1], [2, 3]]
    >>> [list(share(2, k, 3)) for k in range(3)]
    [[0], [1], [0]]
    """
    if local_size >= count:
        device = local_rank % count
        return range(device, device + 1)
    return range(local_rank * count // local_size, (local_rank + 1) * count // local_size)


def device(environment: Environment = os.environ, root: Path = Path("/")) -> str:
    """Return the devices that programs see: ``CUDA 1``; empty if there are none."""
    seen = []
    for vendor in _VENDORS:
        count = _count(vendor, root)
        selected_by = _selecting_variable(vendor, environment)
        if selected_by or count:
            devices = environment[selected_by] if selected_by else ",".join(map(str, range(count)))
            seen.append(f"{vendor.name} {devices}")
    return "; ".join(seen)


def _selecting_variable(vendor: _Vendor, environment: Environment) -> str:
    """Return the variable that selects devices; empty if none does."""
    return next((name for name in (vendor.variable, *vendor.others) if name in environment), "")


def _count(vendor: _Vendor, root: Path) -> int:
    """Return the number of devices of a vendor that this process can open, as drivers number them."""
    if not vendor.pci_id:
        return len(list((root / "dev").glob("nvidia[0-9]*")))
    found = 0
    for node in (root / "dev/dri").glob("renderD*"):
        try:
            pci_id = (root / "sys/class/drm" / node.name / "device/vendor").read_text().strip()
        except OSError:
            continue
        found += pci_id == vendor.pci_id
    return found


def placed(names: dict[str, Any]) -> messages.EnginePlaced:
    """Return what the controller should know of this engine's place."""
    return messages.EnginePlaced(names["local_rank"], device())
