"""The files of this package and of libraries, as they appear in stacks."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

from .._tracebacks import IPYTHON as IPYTHON

PACKAGE = str(Path(__file__).parents[1]) + os.sep
CALLER = str(Path(PACKAGE, "engine", "user_code.py"))  # The module whose frames have called user code.

_PATHS = (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
LIBRARIES = (PACKAGE, *_PATHS, "<frozen")
