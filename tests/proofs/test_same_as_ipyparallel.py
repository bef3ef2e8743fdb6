"""The same snippets give the same results with ipyparallel and with mpidirect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from snippets import DIFFERENT, SNIPPETS

pytestmark = [pytest.mark.proof, pytest.mark.openmpi_only, pytest.mark.timeout(600)]
pytest.importorskip("ipyparallel")

HERE = Path(__file__).parent
WITHIN = 280.0  # seconds for all snippets of one package

DIFFERING = {snippet for snippets in DIFFERENT.values() for snippet in snippets}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Return the results of the snippets: by package, topic and snippet."""
    found = {}
    for package in ("ipyparallel", "mpidirect"):
        home = tmp_path_factory.mktemp(package)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MPIDIRECT_")}
        own = {"MPIDIRECT_DIR": str(home / "home"), "IPYTHONDIR": str(home / "ipython")}
        done = subprocess.run(
            [sys.executable, "run_snippets.py", package, str(home / "report.json")],
            cwd=HERE,
            env={**environment, **own},
            capture_output=True,
            text=True,
            timeout=WITHIN,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        found[package] = json.loads((home / "report.json").read_text())
    return found


@pytest.mark.parametrize("topic", SNIPPETS)
def test_the_same(outcomes, topic):
    theirs, ours = (outcomes[package][topic] for package in ("ipyparallel", "mpidirect"))
    differ = {each: (theirs[each], ours[each]) for each in theirs if theirs[each] != ours[each]}
    unexpected = [
        f"{snippet}\n  ipyparallel: {theirs}\n  mpidirect:   {ours}"
        for snippet, (theirs, ours) in differ.items()
        if snippet not in DIFFERING
    ]
    assert not unexpected, "\n\n".join(unexpected)
    assert not [snippet for snippet in theirs if snippet in DIFFERING and snippet not in differ]
