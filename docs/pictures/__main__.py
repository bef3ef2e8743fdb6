"""Make the pictures: ``python -m docs.pictures`` makes all, ``python -m docs.pictures session top`` some."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.lab import open_browser

from . import figures, notebooks, prompts
from .studio import Studio

SCENES = {
    "session": prompts.session,
    "errors": prompts.errors,
    "roll_call": prompts.roll_call,
    "top": prompts.top,
    "kernel": notebooks.kernel,
    "px": notebooks.px,
    "timeline": figures.timeline,
    "report": figures.report,
}


def main(names: list[str]) -> None:
    """Make the pictures with these names, or all pictures."""
    if unknown := set(names) - set(SCENES):
        sys.exit(f"no pictures: {', '.join(sorted(unknown))}; there are {', '.join(SCENES)}")
    with sync_playwright() as playwright:
        browser = open_browser(playwright)
        for name in names or SCENES:
            with tempfile.TemporaryDirectory(prefix="pictures-") as home:
                studio = Studio(Path(home), browser)
                try:
                    SCENES[name](studio)
                finally:
                    studio.stop_clusters()
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1:])
