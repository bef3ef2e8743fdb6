"""The engines' communicator as ``MPI_COMM_WORLD`` in C and Fortran, if no engines are spawned.

In Open MPI ``MPI_COMM_WORLD`` is the address of an object, and each function of MPI reads that object. If the
object is overwritten by a copy of another communicator's object, ``MPI_COMM_WORLD`` is that communicator,
with its members and messages. No launcher and no daemon takes part, so this works on one host and on several.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mpi4py import MPI

from ..job.variables import C_WORLD

_POINTER = ctypes.sizeof(ctypes.c_void_p)
# Classes of Open MPI's objects, and the tables that have the address of each communicator.
_COMMUNICATOR, _ATTRIBUTES, _TABLE = "ompi_communicator_t", "opal_hash_table_t", "opal_pointer_array_t"
_TABLES = "ompi_mpi_communicators", "ompi_comm_f_to_c_table"
# Open MPI's description of a class: the name, three addresses, two integers, two addresses, the size.
_SIZE_OFFSET = 4 * _POINTER + 2 * ctypes.sizeof(ctypes.c_int) + 2 * _POINTER
_LARGEST = 4096  # Maximum bytes of a communicator's object. In Open MPI 5.0 it has 384.
_ENTRIES = 64  # Number of entries of a table that may contain an initial communicator.


class _Change(NamedTuple):
    """Bytes to write to an address."""

    address: int
    contents: bytes


_undo: list[_Change] = []  # The changes that restore the launcher's world.


def replace(engines: MPI.Comm) -> bool:
    """Make the engines' communicator ``MPI_COMM_WORLD`` in C; all ranks of the launcher's world call this.

    Parameters
    ----------
    engines : MPI.Comm
        The communicator of the engines, on an engine.

    Returns
    -------
    bool
        Whether the world was replaced: on all engines, or on none.
    """
    world, changes = MPI.COMM_WORLD, []
    if world.rank > 0:
        # Only for the world: the copied object now contains the state of this communicator.
        copied = engines.Dup()
        copied.Set_name(world.Get_name())
        changes = _changes(_handle(world), _handle(copied))
    agrees = bool(changes) if world.rank > 0 else os.environ.get(C_WORLD) != "launcher"
    if not world.allreduce(agrees, MPI.LAND):
        return False
    _undo.extend(_Change(address, _read(address, len(contents))) for address, contents in changes)
    _write(changes)
    return True


def finalize(finalize_mpi: Callable[[], None]) -> None:
    """Finalize MPI, which needs the launcher's world for this."""
    _write(_undo)
    finalize_mpi()


def _changes(world: int, copied: int) -> list[_Change]:
    """Return the changes that replace the world's object; empty if this MPI has other objects.

    The world keeps its attributes, such as ``MPI_TAG_UB``. The tables name the copy, so messages and Fortran
    find the copy as well.
    """
    if "Open MPI" not in MPI.Get_library_version() or MPI._sizeof(MPI.Comm) != _POINTER:
        return []
    name, size = _class_of(world)
    fields = range(0, size if name == _COMMUNICATOR and size <= _LARGEST else 0, _POINTER)
    attributes = [k for k in fields if _class_of(_address_at(world + k))[0] == _ATTRIBUTES]
    entries = [_entry(table, copied) for table in _TABLES]
    if len(attributes) != 1 or not all(entries):
        return []
    kept = slice(attributes[0], attributes[0] + _POINTER)
    contents = bytearray(_read(copied, size))
    contents[kept] = _read(world, size)[kept]
    pointer = world.to_bytes(_POINTER, "little")
    return [_Change(world, bytes(contents)), *(_Change(entry, pointer) for entry in entries)]


def _entry(table: str, copied: int) -> int:
    """Return the address of the entry of a table that contains an object's address; 0 if there is none."""
    try:
        address = ctypes.addressof(ctypes.c_char.in_dll(ctypes.CDLL(MPI.__file__), table))
        name, size = _class_of(address)
        entries = _address_at(address + size - _POINTER) if name == _TABLE else 0
        found = memoryview(_read(entries, _ENTRIES * _POINTER)).cast("P").tolist()
    except (OSError, ValueError):
        return 0
    return entries + found.index(copied) * _POINTER if copied in found else 0


def _class_of(address: int) -> tuple[str, int]:
    """Return the name of an object's class, and the size of its objects; an empty name if unknown."""
    try:
        description = _address_at(address)
        name = _read(_address_at(description), len(_TABLE) + 1).partition(b"\0")[0]
        return name.decode("ascii"), _address_at(description + _SIZE_OFFSET)
    except (OSError, OverflowError, UnicodeDecodeError):
        return "", 0


def _handle(comm: MPI.Comm) -> int:
    """Return the handle of a communicator in C, as a number."""
    return ctypes.c_size_t.from_address(MPI._addressof(comm)).value


def _address_at(address: int) -> int:
    return int.from_bytes(_read(address, _POINTER), "little")


def _read(address: int, size: int) -> bytes:
    """Read this process's memory; raise `OSError` if there is none at the address."""
    descriptor = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(descriptor, size, address)
    finally:
        os.close(descriptor)


def _write(changes: Sequence[_Change]) -> None:
    for address, contents in changes:
        ctypes.memmove(address, contents, len(contents))
