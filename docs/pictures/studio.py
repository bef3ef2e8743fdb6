"""What all pictures share: a home directory, a browser, and the way into a file."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from .terminal import Terminal

IPYTHON = """
c = get_config()
c.TerminalIPythonApp.display_banner = False
c.TerminalInteractiveShell.confirm_exit = False
c.TerminalInteractiveShell.autosuggestions_provider = None
c.TerminalInteractiveShell.colors = "linux"
"""
PICTURES = Path(__file__).parent
SCALE = 1.5  # pixels of a picture for a pixel of the page
MAX_SIZE = 200_000  # bytes of a picture


class Studio:
    """A home directory with profiles and clusters of its own, and a browser that draws pages.

    Parameters
    ----------
    home : Path
        An empty directory.
    browser : Browser
        The browser.
    """

    def __init__(self, home: Path, browser: Browser) -> None:
        self.home = home
        self.browser = browser
        os.chdir(home)  # of the clusters and of the prompts
        os.environ["MPIDIRECT_DIR"] = str(home / ".mpidirect")  # no package of this name
        commands = str(Path(sys.executable).parent)
        self.environment = {
            **os.environ,
            "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home),
            "IPYTHONDIR": str(home / "ipython"),
            "PS1": "$ ",
        }
        settings = home / "ipython" / "profile_default" / "ipython_config.py"
        settings.parent.mkdir(parents=True)
        settings.write_text(IPYTHON)

    def stop_clusters(self) -> None:
        """Stop what a picture has started."""
        command = [sys.executable, "-m", "mpidirect", "stop", "--all"]
        subprocess.run(command, env=self.environment, capture_output=True, check=False, timeout=60)

    @contextmanager
    def terminal(self, *command: str, columns: int = 100, lines: int = 60) -> Iterator[Terminal]:
        """Run a command in a terminal."""
        terminal = Terminal(list(command), self.environment, columns, lines)
        try:
            yield terminal
        finally:
            terminal.close()

    @contextmanager
    def page(self, width: int, height: int, dark: bool = False) -> Iterator[Page]:
        """Open a page of the browser."""
        scheme = "dark" if dark else "light"
        page = self.browser.new_page(
            viewport={"width": width, "height": height}, device_scale_factor=SCALE, color_scheme=scheme
        )
        try:
            yield page
        finally:
            page.close()

    def draw_screen(self, name: str, terminal: Terminal) -> None:
        """Write the screen of a terminal to the picture `name`."""
        terminal.settle()
        source = self.home / f"{name}.html"
        source.write_text(terminal.html())
        with self.page(1600, 1200) as page:
            page.goto(source.as_uri())
            page.evaluate("document.fonts.ready")
            self.save(name, page.locator("#screen").screenshot())

    def save(self, name: str, picture: bytes) -> None:
        """Write a picture in PNG, with few colours."""
        image = Image.open(io.BytesIO(picture)).convert("RGB")
        small = image.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        path = PICTURES / f"{name}.png"
        small.save(path, optimize=True)
        size = path.stat().st_size
        print(f"{path.name}: {image.width} x {image.height}, {size / 1000:.0f} kB")
        assert size <= MAX_SIZE, f"{path} has {size} bytes"
