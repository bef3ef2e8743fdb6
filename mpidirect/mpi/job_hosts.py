"""The hosts of a job, and their addresses."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator
from typing import NamedTuple

from mpi4py import MPI

from ..memory import process_memory


class JobHosts(NamedTuple):
    """The hosts of a job, as a rank sees them.

    Attributes
    ----------
    is_first : bool
        Whether this rank is the first one of its host.
    addresses : list of str
        The IP addresses of all hosts. Empty if all ranks share a host.
    """

    is_first: bool
    addresses: list[str]


def find(world: MPI.Intracomm, one_host: bool) -> JobHosts:
    """Find the hosts of a job; all ranks call this together.

    Parameters
    ----------
    world : MPI.Intracomm
        All ranks.
    one_host : bool
        Whether all ranks share a host. No messages are exchanged then.
    """
    if one_host:
        return JobHosts(world.rank == 0, [])
    own = process_memory.node(), socket.gethostname()
    ranks = world.allgather((own, list(_own_addresses())))
    addresses = dict(ranks)  # By host.
    is_first = [host for host, _ in ranks].index(own) == world.rank
    return JobHosts(is_first, sorted({address for each in addresses.values() for address in each}))


def _own_addresses() -> Iterator[str]:
    """Yield the addresses by which other hosts may know this host. MPI uses no link-local ones."""
    import psutil  # A slow import, which a job on one host does not need.

    for interface in psutil.net_if_addrs().values():
        for address in interface:
            if address.family in (socket.AF_INET, socket.AF_INET6):
                host = address.address.partition("%")[0]
                parsed = ipaddress.ip_address(host)
                if not (parsed.is_loopback or (parsed.version == 6 and parsed.is_link_local)):
                    yield host
