"""Calls by their ids: the records of the client and the controller."""

from __future__ import annotations

import time

import numpy as np
import pytest
from waiting import until

from mpidirect import AsyncHubResult, Client, errors

pytestmark = pytest.mark.openmpi_only  # the same with any MPI


def test_results_and_metadata_by_id(rc, dview):
    ar = dview.apply_async(abs, -3)
    ar.get(30)
    assert [rc.results[id] for id in ar.msg_ids] == [3] * 4
    assert rc.metadata[ar.msg_ids[2]].engine_id == 2
    assert set(ar.msg_ids) <= set(rc.results)
    assert "nobody's" not in rc.results
    task = rc.load_balanced_view().apply_async(abs, -5)
    task.get(30)
    assert rc.results[task.msg_ids[0]] == 5
    assert rc.metadata[task.msg_ids[0]].engine_id == task.engine_id


def test_status_of_results(rc):
    slow, quick = rc[0].apply_async(time.sleep, 0.5), rc[1].apply_async(abs, -1)
    quick.get(30)
    status = rc.result_status([slow, quick])
    assert status == {"pending": slow.msg_ids, "completed": quick.msg_ids}
    assert rc.result_status(quick, status_only=False)[quick.msg_ids[0]] == 1
    slow.get(30)
    assert rc.result_status(-1)["pending"] == []


def test_resubmit_repeats_a_call(rc, dview):
    dview.execute("n = 0", block=True)
    ar = dview.execute("n += 1")
    ar.get(30)
    again = rc.resubmit(ar)
    assert isinstance(again, AsyncHubResult)
    again.get(30)
    assert dview["n"] == [2] * 4
    task = rc.load_balanced_view().map_async(abs, range(-2, 0))
    assert task.get(30) == [2, 1]
    assert rc.get_result(task.msg_ids[0]).get(30) == [2]  # the items of this task
    assert rc.resubmit(task).get(30) == [2, 1]
    running = rc[0].apply_async(time.sleep, 0.2)
    assert rc.resubmit(running).get(30) is None
    large = dview.apply_async(np.sum, np.ones(100_000))
    large.get(30)
    with pytest.raises(errors.ResultExpired, match="large"):
        rc.resubmit(large)


def test_db_query(rc, dview):
    dview.apply_sync(abs, -1)
    with pytest.raises(errors.CompositeError):
        dview.apply_sync(lambda: 1 / (rank - rank))  # noqa: F821
    bad = rc.db_query({"status": "error"}, keys="engine_id")
    assert sorted(record["engine_id"] for record in bad) == [0, 1, 2, 3]
    assert set(bad[0]) == {"msg_id", "engine_id"}
    assert rc.db_query({"engine_id": {"$in": [1, 2], "$gt": 1}, "status": "ok"})
    with dview.temp_flags(label="setup"):
        dview.apply_sync(abs, -1)
    assert len(rc.db_query({"label": "setup"})) == len(rc.db_query({"label": {"$glob": "set*"}})) == 4
    with pytest.raises(ValueError, match="operator"):
        rc.db_query({"engine_id": {"$near": 1}})


def test_purged_results_are_forgotten(rc, dview, cluster):
    ar = dview.apply_async(abs, -1)
    ar.get(30)
    rc.purge_results(ar)
    assert ar.get() == [1] * 4  # the holder of the result still has it
    assert ar.msg_ids[0] not in rc.results
    slow = rc[0].apply_async(time.sleep, 0.3)
    with pytest.raises(RuntimeError, match="outstanding"):
        rc.purge_local_results(slow)
    with pytest.raises(ValueError, match="at least one"):
        rc.purge_results()
    slow.get(30)
    with Client(str(cluster.connection_file)) as gone:
        left = gone[0].apply_async(time.sleep, 0.1)
        id = left._calls[0].id
    # the controller may handle this query before the goodbye of the other client
    until(lambda: id in rc.hub_history())
    rc.purge_hub_results("all")
    assert id not in rc.hub_history()
    rc.purge_everything()
    assert rc.history == []
    assert dict(rc.results) == {}


def test_parts_are_outstanding_until_their_engines_reply(rc, dview):
    slow = dview.apply_async(lambda: time.sleep(30 if rank == 2 else 0))  # noqa: F821
    pending = set(slow.msg_ids)
    until(lambda: pending & rc.outstanding == {slow.msg_ids[2]})
    assert pending & dview.outstanding == {slow.msg_ids[2]}
    slow.interrupt()
    assert not rc.outstanding


def test_another_client_gets_the_result_of_a_cell(rc, cluster):
    with Client(str(cluster.connection_file)) as gone:
        id = gone[0].execute("import time; time.sleep(0.2)\n7", silent=False).msg_ids[0]
    reply = rc.get_result(id).get(30)
    assert (type(reply).__name__, reply.text) == ("ExecuteReply", "7")


def test_published_data(rc, dview):
    def simulate(n):
        from IPython.display import display

        from mpidirect.datapub import publish_data

        publish_data({"steps": 1, "values": np.arange(n)})
        display("seen")
        publish_data({"steps": n})

    ar = dview.apply_async(simulate, 3)
    ar.get(30)
    assert [data["steps"] for data in ar.data] == [3] * 4
    assert ar.data[0]["values"].tolist() == [0, 1, 2]
    assert [len(outputs) for outputs in ar.outputs] == [1] * 4
    task = rc.load_balanced_view().apply_async(simulate, 2)
    task.get(30)
    assert task.data["steps"] == 2
    assert rc[0].apply_async(abs, 1).data == {}


def test_views_of_other_names(rc):
    import mpidirect as ipp

    view = rc.broadcast_view()
    assert isinstance(view, ipp.BroadcastView)
    assert view.apply_sync(abs, -1) == [1] * 4
    view.is_coalescing = True
    assert view.is_coalescing
    assert view.use_cloudpickle().get(30) == [False] * 4
    assert isinstance(rc.load_balanced_view(), ipp.View)


def test_a_cluster_by_ipyparallels_names(rc, cluster):
    import mpidirect as ipp

    assert cluster.cluster_id in repr(cluster)
    assert cluster.engine_set.n == 4
    assert cluster.engines == {cluster.cluster_id: cluster.engine_set}
    assert "mpidirect.job" in cluster.engine_set.args
    with cluster.connect_client_sync() as client:
        assert client.ids == rc.ids
    found = ipp.ClusterManager().load_clusters() if rc.profile == "default" else {}
    assert all(isinstance(each, ipp.Cluster) for each in found.values())
    with pytest.raises(NotImplementedError, match="one MPI job"):
        cluster.stop_engines_sync()
    with pytest.warns(UserWarning, match="ignored"):
        ipp.Cluster(controller="mpi", engines="mpi", cluster_id="other")
    other = ipp.Cluster(cluster_id="other")
    assert (other.profile.name, other.cluster_file.name) == ("default:other", "cluster-other.json")
    assert other.profile.config_file == ipp.Cluster().profile.config_file
    assert ipp.Cluster(engines="slurm").settings["launcher"] == "slurm"
