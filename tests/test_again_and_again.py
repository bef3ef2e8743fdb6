"""Start, use and stop, twenty times in a row: no hang, and nothing left over."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from mpidirect import Client, Cluster
from mpidirect.wire.directories import socket_directory

pytestmark = pytest.mark.openmpi_only  # with one MPI: it takes a minute


def processes_of(cluster: str) -> list[psutil.Process]:
    """The processes that belong to a cluster, by its id in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("MPIDIRECT_CLUSTER") == cluster:
                found.append(process)
        except psutil.Error:
            continue
    return found


def segments() -> set[Path]:
    """Open MPI's shared memory on this host that no process uses (others may run clusters here)."""
    found = set(Path("/dev/shm").glob("sm_segment.*"))
    for process in psutil.process_iter():
        try:
            found -= {Path(mapped.path) for mapped in process.memory_maps()}
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.timeout(300)
def test_twenty_clusters_in_a_row(tmp_path, monkeypatch):
    monkeypatch.setenv("MPIDIRECT_DIR", str(tmp_path / "home"))
    before = segments()
    for round in range(20):
        cluster = Cluster(n=2)
        cluster.start()
        cluster.wait()
        id, file = cluster.cluster, Path(cluster.connection_file)
        assert processes_of(id) and file.exists() and socket_directory(id).exists()
        with Client() as rc:
            view = rc[:]
            view["x"] = round
            assert view.apply_sync(lambda: comm.allreduce(x)) == [2 * round] * 2  # noqa: F821
        cluster.stop()
        assert processes_of(id) == []
        assert not file.exists() and not socket_directory(id).exists()
    left = {path.name for path in (tmp_path / "home" / "default").iterdir()} - {"logs", ".lock"}
    assert left == set()
    assert segments() - before == set()
