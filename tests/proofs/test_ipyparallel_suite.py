"""ipyparallel's own tests pass on mpidirect.

They are those of the installed version. A copy runs in a process of its own, where `tests/alias` is the package
`ipyparallel`.
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
WITHIN = 840.0  # seconds for the suite; a machine without other work needs a small part of that

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
