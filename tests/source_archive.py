"""Source archives on PyPI, of projects whose own tests are run here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def fetch(requirement: str, home: Path) -> Path:
    """Return the source archive of a release in the folder `home`; fetch it if it is not there.

    Parameters
    ----------
    requirement : str
        A line of a requirements file: ``NAME==VERSION``, with the hash of the archive if it is known.
    home : Path
        The folder.
    """
    release = requirement.partition(" ")[0]
    name = release.partition("==")[0]
    archive = home / f"{release.replace('==', '-')}.tar.gz"
    if not archive.exists():
        wanted = home / "wanted.txt"
        wanted.write_text(requirement)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, f"--no-binary={name}", "--no-deps", "-r", str(wanted), "-d", str(home)],
            capture_output=True,
            text=True,
            timeout=300,
        )
        if not archive.exists():
            pytest.fail(f"{name}'s source could not be fetched: {done.stdout}{done.stderr}", pytrace=False)
    return archive
