"""``python -m mpidirect.kernel -f CONNECTION_FILE``: the command by which Jupyter starts the kernel."""

from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp

from .kernel import EnginesKernel

if __name__ == "__main__":
    IPKernelApp.launch_instance(kernel_class=EnginesKernel)
