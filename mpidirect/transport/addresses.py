"""The addresses of this host, IPv4 and IPv6, and how they are written in a URL."""

from __future__ import annotations

import socket


def own_addresses() -> list[str]:
    """This host's addresses, those that others can reach first, of them IPv4 first."""
    import psutil

    found: list[str] = []
    status = psutil.net_if_stats()
    for name, addresses in psutil.net_if_addrs().items():
        if name in status and not status[name].isup:
            continue
        found += [a.address for a in addresses if a.family == socket.AF_INET]
        found += [a.address for a in addresses if a.family == socket.AF_INET6 and _is_reached(a.address)]
    return sorted(found, key=lambda address: (address.startswith("127."), ":" in address))


def _is_reached(address: str) -> bool:
    """Whether an IPv6 address means the same to another host."""
    import ipaddress

    kind = ipaddress.ip_address(address.partition("%")[0])
    return not (kind.is_link_local or kind.is_loopback)


def interface_address(name: str) -> str:
    """The address of an interface, given its name; any other text is an address already."""
    import psutil

    mine = psutil.net_if_addrs().get(name, [])
    for family in (socket.AF_INET, socket.AF_INET6):
        for address in mine:
            if address.family == family and (family == socket.AF_INET or _is_reached(address.address)):
                return str(address.address)
    return name


def only_ipv6() -> bool:
    """Whether other hosts reach this one by IPv6 alone."""
    reached = [address for address in own_addresses() if not address.startswith("127.")]
    return bool(reached) and all(":" in address for address in reached)


def url(host: str, port: int) -> str:
    """``tcp://host:port``, an IPv6 address in brackets."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def listening(ip: str, port: int) -> socket.socket:
    """A socket that listens at a port of an address; ``*`` is all addresses of this host.

    Raises
    ------
    OSError
        When it can't: also for what is neither an address nor a host's name.
    """
    everywhere = ip == "*"
    if everywhere and socket.has_dualstack_ipv6() and any(":" in address for address in own_addresses()):
        family, host = socket.AF_INET6, "::"
    else:
        family, host = socket.AF_INET6 if ":" in ip else socket.AF_INET, "" if everywhere else ip
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last cluster was here just now
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not everywhere)
        listener.bind((host, port))
        listener.listen()  # another one that starts at the same time may have bound it, too
        return listener
    except BaseException:
        listener.close()
        raise
