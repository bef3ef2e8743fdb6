"""Engines' communicators work like mpi4py's; mpi4py's tests of this run with Open MPI only."""

from __future__ import annotations

EXCHANGE = """
row = comm.Create_cart([size])
got = row.neighbor_allgather({"of": rank}), row.neighbor_alltoall([[rank, "left"], [rank, "right"]])
"""
FREE = """
comm.free()
clone = type(comm)(comm)
clone.free()
try:
    type(comm)(comm).Free()
except MPI.Exception as error:
    refused = error.Get_error_class()
"""


def test_neighbours_exchange_objects(dview):
    """At the ends of a row there is no neighbour."""
    dview.execute(EXCHANGE, block=True)
    expected = []
    for k in range(4):
        left, right = (k - 1 if k > 0 else None), (k + 1 if k < 3 else None)
        all_have = [None if n is None else {"of": n} for n in (left, right)]
        for_me = [None if left is None else [left, "right"], None if right is None else [right, "left"]]
        expected.append((all_have, for_me))
    assert dview.pull("got", block=True) == expected


def test_freeing_comm_leaves_it(dview):
    dview.execute(FREE, block=True)
    found = dview.pull("bool(clone), refused == MPI.ERR_COMM, comm.allreduce(1)", block=True)
    assert found == [(False, True, 4)] * 4


def test_attributes_of_mpi_are_those_of_comm(dview):
    largest = dview.pull("comm.Get_attr(MPI.TAG_UB)", block=True)
    assert all(tag is not None and tag >= 32767 for tag in largest)  # the minimum that MPI guarantees
