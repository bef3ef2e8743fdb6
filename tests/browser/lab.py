"""Jupyter in a real browser: a server for one directory, and a notebook in JupyterLab or Notebook 7."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
from playwright.sync_api import Browser, Locator, Page, Playwright, expect

from tests.waiting import until

LIMIT = 120  # seconds: Jupyter and Chromium start slowly where other tests run

_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # all cells are in the page
}
_ENDED = re.compile(r"\[\d+\]")
_IS_SHOWN = "text => document.body.innerText.includes(text)"


def browser_command() -> str | None:
    """Return the path of Chromium; None where it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def open_browser(playwright: Playwright) -> Browser:
    """Start Chromium without a window."""
    # In a container the shared memory may be small; root has no sandbox.
    options = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    return playwright.chromium.launch(executable_path=browser_command(), args=options)


class JupyterServer:
    """A Jupyter server whose notebooks, settings, kernels and clusters are in one directory.

    Parameters
    ----------
    directory : Path
        The directory.
    dark : bool
        Whether JupyterLab has its dark theme.
    """

    def __init__(self, directory: Path, dark: bool = False) -> None:
        self.notebooks = directory / "notebooks"
        self.notebooks.mkdir(parents=True)
        others = ("MPIDIRECT_", "JUPYTER")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(others)}
        places = ("DATA", "CONFIG", "RUNTIME")
        self.environment = {
            **kept,
            **{f"JUPYTER_{place}_DIR": str(directory / place.lower()) for place in places},
            "JUPYTERLAB_SETTINGS_DIR": str(directory / "settings"),
            "JUPYTERLAB_WORKSPACES_DIR": str(directory / "workspaces"),
            "IPYTHONDIR": str(directory / "ipython"),
            "MPIDIRECT_DIR": str(directory / "mpidirect"),
        }
        theme = "JupyterLab Dark" if dark else "JupyterLab Light"
        for name, values in {**_SETTINGS, "apputils-extension/themes": {"theme": theme}}.items():
            path = directory / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        self._log = directory / "server.log"
        self._process = self._start()
        try:
            self.address, self._token = self._wait_for_address(directory / "runtime")
        except BaseException:
            self.stop()
            raise

    def _start(self) -> subprocess.Popen[bytes]:
        options = ("--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=200")
        with self._log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "jupyterlab", *options],
                cwd=self.notebooks,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _wait_for_address(self, directory: Path) -> tuple[str, str]:
        """Return the address and the token, which the server writes to a file when it listens."""
        path = directory / f"jpserver-{self._process.pid}.json"

        def read() -> dict[str, str] | None:
            assert self._process.poll() is None, self._log.read_text()
            try:
                return json.loads(path.read_text())
            except (OSError, ValueError):
                return None

        found = until(read, LIMIT)
        return found["url"], found["token"]

    def command(self, *words: str) -> None:
        """Run ``mpidirect`` beside the notebooks."""
        subprocess.run(
            [sys.executable, "-m", "mpidirect", *words],
            cwd=self.notebooks,
            env=self.environment,
            check=True,
            timeout=LIMIT,
        )

    def open(self, page: Page, name: str, kernel: str, cells: dict[str, str]) -> NotebookPage:
        """Write a notebook whose cells have names, and open it in JupyterLab."""
        self._open(page, "lab/tree", name, kernel, cells)
        return NotebookPage(page, list(cells))

    def open_in_notebook_7(self, page: Page, name: str, kernel: str, cells: dict[str, str]) -> Notebook7Page:
        """Write a notebook whose cells have names, and open it in Notebook 7, on the same server."""
        self._open(page, "notebooks", name, kernel, cells)
        return Notebook7Page(page, list(cells))

    def _open(self, page: Page, application: str, name: str, kernel: str, cells: dict[str, str]) -> None:
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(code.strip()) for code in cells.values()],
            metadata={"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}},
        )
        nbformat.write(notebook, self.notebooks / f"{name}.ipynb")
        page.set_default_timeout(1000 * LIMIT)
        page.goto(f"{self.address}{application}/{name}.ipynb?token={self._token}&reset")

    def stop(self) -> None:
        """End the server as Ctrl-C and ``y`` would."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(LIMIT)


class NotebookPage:
    """A notebook that is open in the browser.

    Parameters
    ----------
    page : Page
        The page of the browser.
    names : list of str
        The names of the cells.
    """

    def __init__(self, page: Page, names: list[str]) -> None:
        self.page = page
        self._names = names
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Wait until the kernel is connected and idle."""
        status = self.page.locator("#jp-main-statusbar").get_by_text("| Idle")
        expect(status).to_be_visible(timeout=1000 * LIMIT)

    def cell(self, name: str) -> Locator:
        """Return a cell."""
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(self._names.index(name))

    def output(self, name: str) -> Locator:
        """Return the output of a cell."""
        return self.cell(name).locator(".jp-Cell-outputArea")

    def prompt(self, name: str) -> Locator:
        """Return the prompt of a cell: ``[*]:`` while the cell runs."""
        return self.cell(name).locator(".jp-InputArea-prompt")

    def start(self, name: str) -> None:
        """Run a cell as a user does; do not wait for its end."""
        self.prompt(name).click()
        self.page.keyboard.press("Control+Enter")

    def run(self, name: str) -> str:
        """Run a cell, wait for its end, and return the text of its output."""
        self.start(name)
        self.wait_for_end(name)
        return self.text(name)

    def text(self, name: str) -> str:
        """Return the text of a cell's output."""
        return self.output(name).inner_text()

    def is_running(self, name: str) -> bool:
        """Return whether a cell runs."""
        return "[*]" in self.prompt(name).inner_text()

    def wait_for_end(self, name: str) -> None:
        """Wait until a cell has ended."""
        expect(self.prompt(name)).to_have_text(_ENDED, timeout=1000 * LIMIT)

    def wait_for(self, name: str, text: str) -> None:
        """Wait until a text is in the output of a cell."""
        expect(self.output(name)).to_contain_text(text, timeout=1000 * LIMIT)

    def wait_for_parts(self, name: str, selector: str, count: int) -> None:
        """Wait until the output of a cell has so many elements."""
        expect(self.output(name).locator(selector)).to_have_count(count, timeout=1000 * LIMIT)

    def see(self, text: str) -> None:
        """Wait until a text is on the page, also if the text is there for a moment only."""
        self.page.wait_for_function(_IS_SHOWN, arg=text, polling="raf")

    def press(self, button: str, agree: bool = False) -> None:
        """Press a button of the notebook's toolbar; agree to the question that follows."""
        self.page.locator(f'.jp-NotebookPanel-toolbar [data-jp-item-name="{button}"]').click()
        if agree:
            self.page.locator(".jp-Dialog button.jp-mod-accept").click()

    def choose(self, menu: str, item: str) -> None:
        """Choose an item of the menu bar."""
        for kind, name in (("lm-MenuBar", menu), ("lm-Menu", item)):
            self.page.locator(f".{kind}-itemLabel", has_text=re.compile(f"^{name}$")).click()


class Notebook7Page(NotebookPage):
    """A notebook that is open in Notebook 7, which has no status bar."""

    def wait_until_idle(self) -> None:
        """Wait until the kernel is connected and idle."""
        status = self.page.locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]')
        expect(status).to_be_visible(timeout=1000 * LIMIT)
