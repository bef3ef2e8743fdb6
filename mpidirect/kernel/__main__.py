"""``python -m mpidirect.kernel -f CONNECTION_FILE``: Jupyter starts the kernel so."""

from __future__ import annotations

from ipykernel.kernelapp import IPKernelApp

from .kernel import EnginesKernel

if __name__ == "__main__":
    IPKernelApp.launch_instance(kernel_class=EnginesKernel)
