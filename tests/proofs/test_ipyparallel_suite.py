"""ipyparallel's own tests pass on mpidirect.

The tests are those of the installed version. A copy of them runs in a process of its own, where the package
`ipyparallel` is `tests/alias/ipyparallel`: mpidirect under that name.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import ROOT

pytestmark = [pytest.mark.proof, pytest.mark.openmpi_only, pytest.mark.timeout(900)]
pytest.importorskip("ipyparallel")

ALIAS = ROOT / "tests" / "alias" / "ipyparallel"
WITHIN = 840.0  # seconds for the suite; a machine without other work needs much less

MODULES = [
    "test_asyncresult",
    "test_client",
    "test_dependency",
    "test_executor",
    "test_joblib",
    "test_label",
    "test_lbview",
    "test_magics",
    "test_remotefunction",
    "test_view",
]
DIFFERENT_PARTS = {
    **dict.fromkeys(["test_canning", "test_serialize"], "the wire format"),
    **dict.fromkeys(["test_db", "test_mongodb"], "the hub's databases"),
    **dict.fromkeys(["test_apps", "test_cluster", "test_launcher"], "command line, launchers, settings"),
    **dict.fromkeys(["test_mpi", "test_shellcmd", "test_slurm", "test_ssh"], "launchers"),
    **dict.fromkeys(["test_async", "test_util"], "private functions"),
    "test_view_broadcast": "test_view again, with a BroadcastView, which is a DirectView here",
}
DESELECTED = {
    "test_lbview.TestLoadBalancedView.test_impossible_dependency": (
        "waits until an idle cluster runs two calls on two engines, for ever"
    ),
    "test_magics.TestParallelMagics.test_cellpx_keyboard_interrupt": (
        "after Ctrl-C the cell fails with a KeyboardInterrupt, which would end pytest"
    ),
    "test_asyncresult.TestAsyncResult.test_hubresult_timestamps": (
        "another client finds a delivered result only until the delivery is acknowledged: passes by chance"
    ),
    "test_label.TestLabelSqliteDB": "TestLabelDictDB again, with another database of the hub",
    "test_label.TestLabelMongoDB": "TestLabelDictDB again, with another database of the hub",
    "test_magics.TestParallelMagics.test_cellpx_stream": "skipped by ipyparallel itself",
}

HUB = "the controller keeps no records of results that were delivered"
PRIVATE = "uses private attributes of ipyparallel"
ONE_ID = "a call has one id in the history, for all its engines or tasks"
TEXT = "direct-interface.rst has another text, which is shown by default"
ALWAYS_CLOUDPICKLE = "functions are always pickled by cloudpickle, and names that engines lack are sent"

CLIENT = {
    "test_curve": "keys of sessions are in the connection file",
    "test_outstanding": PRIVATE,
    "test_shutdown": "single engines can't be ended",
    **dict.fromkeys(["test_db_query_dt", "test_db_query_get_result", "test_db_query_in"], HUB),
    **dict.fromkeys(["test_hub_history", "test_resubmit", "test_resubmit_chain"], HUB),
    **dict.fromkeys(["test_resubmit_header", "test_resubmit_aborted", "test_purge_hub_results"], HUB),
    **dict.fromkeys(["test_purge_all_results", "test_purge_everything"], HUB),
    "test_resubmit_badkey": "raises ResultExpired, a KeyError, and no RemoteError",
    "test_purge_local_results": "writes to the results",
    "test_warning_on_hostname_match": PRIVATE,
    "test_local_ip_true_doesnt_trigger_warning": PRIVATE,
    "test_wait_for_engines": "more engines than the cluster has are an error at once",
}
ASYNC_RESULT = {
    "test_not_single_result": PRIVATE,
    "test_owner_pop": "a result is known as long as somebody holds it",
    "test_wait_for_send": PRIVATE,
    "test_split_map_result": "the parts are of a subclass of AsyncResult",
    "test_error_engine_info_apply": "engine_info has the host and the process, and no uuid",
    "test_error_engine_info_execute": "engine_info has the host and the process, and no uuid",
}
VIEW = {
    "test_apply_tracked": PRIVATE,
    "test_push_tracked": PRIVATE,
    "test_scatter_tracked": PRIVATE,
    "test_use_cloudpickle": ALWAYS_CLOUDPICKLE,
}
MAGICS = {
    **dict.fromkeys(["test_cellpx_groupby_engine", "test_cellpx_groupby_order"], TEXT),
    **dict.fromkeys(["test_cellpx_groupby_type", "test_cellpx_targets"], TEXT),
    **dict.fromkeys(["test_autopx_blocking", "test_autopx_nonblocking"], TEXT),
    "test_cellpx_error_stream": "the error is a CompositeError; no AlreadyDisplayedError",
    "test_cellpx_error_no_stream": "stderr says which engine has failed while others still run",
}
INAPPLICABLE = {
    **{f"test_client.TestClient.{name}": reason for name, reason in CLIENT.items()},
    **{f"test_asyncresult.TestAsyncResult.{name}": reason for name, reason in ASYNC_RESULT.items()},
    **{f"test_view.TestView.{name}": reason for name, reason in VIEW.items()},
    **{f"test_magics.TestParallelMagics.{name}": reason for name, reason in MAGICS.items()},
    "test_dependency.TestDependency.test_require_function": ALWAYS_CLOUDPICKLE,
    "test_executor.TestExecutor.test_executor_map": "a map returns a generator, as concurrent.futures does",
    "test_executor.TestExecutor.test_executor_context": ONE_ID,
    "test_joblib.TestJobLib.test_default_backend": "the backend connects when joblib starts to run tasks",
    "test_lbview.TestLoadBalancedView.test_retries": (
        "a task that has failed on all engines runs on them again; `timeout` is about what it waits for"
    ),
}


@pytest.fixture(scope="module")
def suite(request):
    """Copy ipyparallel's tests beside the alias package; return the directory to run them in."""
    home = Path(request.config.cache.mkdir("ipyparallel"))
    package = home / "ipyparallel"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(distribution("ipyparallel").locate_file("ipyparallel/tests"), package / "tests")
    shutil.copytree(ALIAS, package, dirs_exist_ok=True)
    return home


def test_of_ipyparallel_pass(suite, tmp_path):
    report = tmp_path / "report.xml"
    own = {"MPIDIRECT_DIR": str(tmp_path / "home"), "PYTHONPATH": str(suite)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MPIDIRECT_")}
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=", "--tb=short", "--timeout=60"]
    deselected = [f"--deselect={_node(test)}" for test in DESELECTED]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, f"--rootdir={suite}", f"--junitxml={report}", *deselected]
        + [f"ipyparallel/tests/{module}.py" for module in MODULES],
        cwd=suite,
        env={**environment, **own},
        capture_output=True,
        text=True,
        timeout=WITHIN,
    )
    assert report.exists(), done.stdout + done.stderr
    outcomes = _outcomes(report)
    failed = {test for test, outcome in outcomes.items() if outcome in ("failure", "error")}
    skipped = {test for test, outcome in outcomes.items() if outcome == "skipped"}
    assert not failed - set(INAPPLICABLE), f"{sorted(failed - set(INAPPLICABLE))}\n{done.stdout}"
    assert not set(INAPPLICABLE) - failed, "these pass, or are no longer there"
    assert not skipped
    assert len(outcomes) - len(failed) > 150


def test_each_module_of_ipyparallel_is_known(suite):
    modules = {path.stem for path in (suite / "ipyparallel" / "tests").glob("test_*.py")}
    assert modules == {*MODULES, *DIFFERENT_PARTS}


def _node(test: str) -> str:
    """Return pytest's id of a test."""
    module, *names = test.split(".")
    return "::".join([f"ipyparallel/tests/{module}.py", *names])


def _outcomes(report: Path) -> dict[str, str]:
    """Return for each test: `failure`, `error`, `skipped`, or an empty text if it has passed."""
    outcomes: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        test = f"{case.get('classname')}.{case.get('name')}".removeprefix("ipyparallel.tests.")
        kinds = [child.tag for child in case if child.get("type") != "pytest.xfail"]
        wrong = [kind for kind in kinds if kind in ("failure", "error", "skipped")]
        outcomes[test] = wrong[0] if wrong else outcomes.get(test, "")
    return outcomes
