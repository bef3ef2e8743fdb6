"""Notebooks in a real browser: the kernel on the engines, and a Python kernel with ``%%px``."""

from __future__ import annotations

import importlib.util

import pytest
from components import absent
from waiting import until

from mpidirect import Cluster
from mpidirect.cluster.state import ClusterState
from mpidirect.job import processes

pytestmark = [pytest.mark.proof, pytest.mark.openmpi_only, pytest.mark.timeout(600)]

N = 2

WAIT = """
import os, time
while not os.path.exists("go on"):
    time.sleep(0.01)
"""
STREAM = f"""
for k in range(20):  # on a busy machine equal lines may come too late to be folded
    comm.Barrier()
    print("step", k)
print("rank", rank)
{WAIT}
print("goes on")
"""
FIGURE = """
%matplotlib inline
import matplotlib.pyplot as plt
plt.plot([0, rank])
plt.show()
"""
BAR = """
import os, time
from tqdm.auto import tqdm
for k in tqdm(range(3), mininterval=0):
    while k and not os.path.exists("go on"):
        time.sleep(0.01)
"""
HANG = """
print("hangs")
if rank:
    comm.Barrier()
import time
time.sleep(600)
"""

ON_ENGINES = {  # the cells of the kernel on the engines
    "start": "kept = 1\nprint('rank', rank, 'of', size)",
    "stream": STREAM,
    "figure": FIGURE,
    "html": "from IPython.display import HTML, display\ndisplay(HTML(f'<em>rank {rank}</em>'))",
    "bar": BAR,
    "local": "%%local\nprint(rc.ids, 'kept' in globals())",
    "targets": "%%targets 1\nprint('rank', rank)",
    "hang": HANG,
    "after": "print('kept' in globals(), comm.allreduce(1))",
    "error": "1 / rank",
}
BESIDE = {  # the cells of a Python kernel
    "load": "%load_ext mpidirect",
    "stream": f"%%px\n{STREAM}",
    "figure": f"%%px\n{FIGURE}",
    "bar": f"%%px\n{BAR}",
    "client": "import mpidirect\nrc = mpidirect.Client()\nrc",
    "view": "dv = rc[:]\ndv",
    "result": "ar = dv.execute('import time; time.sleep(600)')\nar",
    "interrupt": "ar.interrupt()",
    "error": "%px 1 / rank",
    "caught": "failed = dv.execute('1 / rank')\nfailed.wait()\nfailed.exception()",
}


@pytest.fixture(scope="module")
def browser():
    try:
        import jupyterlab  # noqa: F401
        from playwright.sync_api import sync_playwright

        from tests.browser.lab import browser_command, open_browser
    except ImportError as e:
        absent(f"no JupyterLab or no Playwright here ({e}): pip install 'mpidirect[browser]'")
    if browser_command() is None:
        absent("no Chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = open_browser(playwright)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory):
    from tests.browser.lab import JupyterServer

    server = JupyterServer(tmp_path_factory.mktemp("jupyter") / "home")
    try:
        yield server
    finally:
        server.stop()
        server.command("stop", "--all")


@pytest.fixture
def go_on(server):
    """Let the waiting cells continue."""
    path = server.notebooks / "go on"
    yield path.touch
    path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def cluster(server):
    """Return a function that finds the cluster of the notebooks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPIDIRECT_DIR", server.environment["MPIDIRECT_DIR"])
        yield Cluster.from_profile


# -- the kernel on the engines -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kernel(server):
    """The name of the kernel on the engines."""
    server.command("kernel", "install", "-n", str(N))
    return "mpidirect-default"


@pytest.fixture(scope="module")
def notebook(server, browser, kernel):
    """A notebook whose first cell has started the cluster, and shown the start."""
    notebook = server.open(browser.new_page(), "job", kernel, ON_ENGINES)
    notebook.start("start")
    notebook.see(f"(0 of {N} engines are ready)")
    notebook.wait_for_end("start")
    lines = notebook.text("start").split("\n")
    assert lines[0] == f"mpidirect: {N} engines are ready"
    assert sorted(line for line in lines[1:] if line) == ["[stdout:0] rank 0 of 2", "[stdout:1] rank 1 of 2"]
    return notebook


def check_streaming(notebook, go_on):
    """Run the cell "stream": its output arrives while the cell runs, and equal lines are folded."""
    notebook.start("stream")
    for text in ("[stdout:0-1]", "step 19", "rank 0", "rank 1"):
        notebook.wait_for("stream", text)
    assert notebook.is_running("stream") and "goes on" not in notebook.text("stream")
    go_on()
    notebook.wait_for_end("stream")
    notebook.wait_for("stream", "goes on")


def test_output_streams_and_is_folded(notebook, go_on):
    check_streaming(notebook, go_on)


def test_pictures_and_html(notebook):
    notebook.run("figure")
    notebook.wait_for_parts("figure", "img", N)
    notebook.run("html")
    notebook.wait_for_parts("html", "em", N)


def test_a_bar(notebook, go_on):
    notebook.start("bar")
    notebook.wait_for("bar", "33%")
    assert notebook.is_running("bar")
    go_on()
    notebook.wait_for("bar", "100%")
    assert "33%" not in notebook.text("bar")


def test_cells_here_and_on_some_engines(notebook):
    assert notebook.run("local").strip() == "[0, 1] False"
    assert notebook.run("targets").strip() == "[stdout:1] rank 1"


def test_the_stop_button(notebook):
    check_stop_button(notebook)


def check_stop_button(notebook):
    """Run a hanging cell, and press the button: the cell ends, and the engines and `comm` work."""
    notebook.start("hang")
    notebook.wait_for("hang", "hangs")
    notebook.press("interrupt")
    notebook.wait_for_end("hang")
    assert "KeyboardInterrupt" in notebook.text("hang")
    assert notebook.run("after").count("True 2") in (1, N)  # folded, or not


def test_an_error(notebook):
    notebook.run("error")
    assert "[0:execute]" in notebook.text("error") and "ZeroDivisionError" in notebook.text("error")


def test_the_restart_button(notebook, cluster):
    before = cluster().cluster
    notebook.press("restart", agree=True)
    notebook.see("| Restarting")
    notebook.wait_until_idle()
    assert notebook.run("after").count("False 2") in (1, N)
    assert notebook.run("local").strip() == "[0, 1] False"
    assert cluster().cluster == before


def test_a_shutdown_of_the_kernel_leaves_nothing(notebook, cluster):
    ours = cluster()
    notebook.choose("Kernel", "Shut Down Kernel")
    until(lambda: ours.state is ClusterState.STOPPED)
    until(lambda: processes.members(ours.cluster) == [])


def test_notebook_7(server, browser, kernel, go_on, cluster):
    """Notebook 7, the other application of the Jupyter project, on the same server."""
    if importlib.util.find_spec("notebook") is None:
        absent("no Notebook 7 here: pip install 'mpidirect[browser]'")
    seven = server.open_in_notebook_7(browser.new_page(), "seven", kernel, ON_ENGINES)
    seven.run("start")
    check_streaming(seven, go_on)
    check_stop_button(seven)
    ours = cluster()
    seven.choose("Kernel", "Shut Down Kernel")
    until(lambda: ours.state is ClusterState.STOPPED)


# -- a Python kernel ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beside(server, browser):
    """A notebook of a Python kernel, and a cluster."""
    server.command("start", "-n", str(N))
    notebook = server.open(browser.new_page(), "beside", "python3", BESIDE)
    notebook.run("load")
    notebook.run("client")
    notebook.run("view")
    return notebook


def test_px_streams(beside, go_on):
    check_streaming(beside, go_on)


def test_px_shows_pictures(beside):
    beside.run("figure")
    beside.wait_for_parts("figure", "img", N)


def test_px_shows_bars(beside, go_on):
    beside.start("bar")
    beside.wait_for("bar", "33%")
    go_on()
    beside.wait_for("bar", "100%")


def test_clients_and_views_are_tables(beside):
    for name in ("client", "view"):
        beside.wait_for_parts(name, "tr", N + 1)


def test_a_result_is_a_live_timeline(beside):
    beside.run("result")
    beside.wait_for("result", "running")
    beside.run("interrupt")
    beside.wait_for("result", "failed: KeyboardInterrupt")


def test_errors(beside):
    beside.run("error")
    assert "ZeroDivisionError" in beside.text("error")
    beside.run("caught")
    beside.wait_for_parts("caught", "summary", 1)
    beside.output("caught").locator("summary").click()
    beside.wait_for("caught", "division by zero")


def test_the_end_of_jupyter_stops_its_clusters(server, browser, kernel, cluster, beside):
    server.command("stop")
    notebook = server.open(browser.new_page(), "last", kernel, ON_ENGINES)
    notebook.run("start")
    ours = cluster()
    server.stop()
    until(lambda: ours.state is ClusterState.STOPPED)
    until(lambda: processes.members(ours.cluster) == [])
