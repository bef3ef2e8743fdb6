"""Kernel specifications, by which a kernel appears in Jupyter's menus."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from .kernel import ENGINES, PROFILE


def specification(profile: str, n: int | None) -> dict[str, object]:
    """Return the kernel specification for a profile.

    Parameters
    ----------
    profile : str
        The profile.
    n : int or None
        The number of engines of a cluster that the kernel starts; None for the profile's number.
    """
    engines = {ENGINES: str(n)} if n else {}
    return {
        "argv": [sys.executable, "-m", "mpidirect.kernel", "-f", "{connection_file}"],
        "display_name": f"MPI engines ({profile})",
        "language": "python",
        "interrupt_mode": "signal",
        "env": {PROFILE: profile, **engines},
        "metadata": {"debugger": False},
    }


def install(profile: str, n: int | None = None, prefix: str | None = None) -> Path:
    """Write the kernel specification of a profile.

    Parameters
    ----------
    profile : str
        The profile.
    n : int, optional
        The number of engines of a cluster that the kernel starts; by default the profile's number.
    prefix : str, optional
        The environment for the specification, as ``sys.prefix``; by default the user's directory.

    Returns
    -------
    Path
        The directory of the specification.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "kernel.json").write_text(json.dumps(specification(profile, n), indent=1))
        manager = KernelSpecManager()
        return Path(manager.install_kernel_spec(directory, name(profile), user=prefix is None, prefix=prefix))


def remove(profile: str) -> bool:
    """Remove the kernel specification of a profile; return whether there was one."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        KernelSpecManager().remove_kernel_spec(name(profile))
    except (NoSuchKernel, KeyError):
        return False
    return True


def name(profile: str) -> str:
    """Return the name of the kernel of a profile."""
    return f"mpidirect-{profile}"
