"""The kinds of CuPy's, PyTorch's and JAX's arrays; each imports its library."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from .dtypes import dtype_of, is_numpy_dtype, library_dtype_text
from .kind import Kind
from .lazy_numpy import np


class CuPyKind(Kind):
    """Arrays of CuPy, and of packages with the same interface; `name` is the package."""

    on_device = True

    def __init__(self, package: str) -> None:
        self.name = package
        self._cupy = importlib.import_module(package)
        if not self._cupy.cuda.is_available():
            raise ImportError(f"{package} finds no GPU here")

    @property
    def functions(self) -> Any:
        return self._cupy

    @property
    def platform(self) -> str:
        return "rocm" if getattr(self._cupy.cuda.runtime, "is_hip", False) else "cuda"

    def can_hold(self, array: Any) -> bool:
        return bool(array.flags.c_contiguous)

    def flat(self, array: Any) -> Any:
        if not array.nbytes:
            return self.empty(0, array)
        return self._cupy.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def empty(self, size: int, like: Any = None) -> Any:
        if like is None:
            return self._cupy.empty(size, np.uint8)
        with like.device:
            return self._cupy.empty(size, np.uint8)

    def shaped(self, flat: Any, text: str, shape: Sequence[int]) -> Any:
        dtype = dtype_of(text)
        return flat.view(dtype).reshape(shape) if flat.size else self._cupy.empty(shape, dtype)

    def overlap(self, a: Any, b: Any) -> bool:
        return _ranges_overlap(a.data.ptr, a.size, b.data.ptr, b.size)

    def get(self, flat: Any, into: np.ndarray) -> None:
        if flat.size:
            flat.get(out=into)

    def put(self, flat: Any, source: np.ndarray) -> None:
        if flat.size:
            flat.set(source)
            self.synchronize()  # the device reads pinned memory later

    def pinned(self, size: int) -> np.ndarray:
        return np.frombuffer(self._cupy.cuda.alloc_pinned_memory(size), np.uint8, size)

    def synchronize(self) -> None:
        self._cupy.cuda.get_current_stream().synchronize()


class TorchKind(Kind):
    """Tensors of PyTorch on one type of device, as cpu, cuda or xpu."""

    def __init__(self, device: str) -> None:
        self.name = f"torch:{device}"
        self.on_device = device != "cpu"
        self._device = device
        self._torch = importlib.import_module("torch")
        if device == "cuda" and not self._torch.cuda.is_available():
            raise ImportError("torch finds no GPU here")

    @property
    def functions(self) -> Any:
        return self._torch

    @property
    def platform(self) -> str:
        return "" if self._device != "cuda" else "rocm" if self._torch.version.hip else "cuda"

    def dtype(self, array: Any) -> str:
        return library_dtype_text(str(array.dtype).removeprefix("torch."))

    def _itemsize(self, name: str) -> int:
        return int(self._torch.empty(0, dtype=getattr(self._torch, name)).element_size())

    def can_hold(self, array: Any) -> bool:
        return bool(array.is_contiguous() and not array.is_conj() and not array.is_neg())

    def flat(self, array: Any) -> Any:
        plain = array.detach().resolve_conj().resolve_neg().contiguous().reshape(-1).view(self._torch.uint8)
        return plain if self.on_device else plain.numpy()

    def empty(self, size: int, like: Any = None) -> Any:
        if not self.on_device:
            return np.empty(size, np.uint8)
        device = self._device if like is None else like.device
        return self._torch.empty(size, dtype=self._torch.uint8, device=device)

    def shaped(self, flat: Any, text: str, shape: Sequence[int]) -> Any:
        dtype = getattr(self._torch, dtype_of(text).name if is_numpy_dtype(text) else text)
        if not len(flat):
            return self._torch.empty(tuple(shape), dtype=dtype, device=self._device)
        if not self.on_device:
            # torch has no read-only memory, and expects aligned elements
            usable = flat.flags.writeable and not flat.ctypes.data % self.itemsize(text)
            flat = self._torch.from_numpy(flat if usable else flat.copy())
        return flat.view(dtype).reshape(tuple(shape))

    def overlap(self, a: Any, b: Any) -> bool:
        if not self.on_device:
            return super().overlap(a, b)
        return _ranges_overlap(a.data_ptr(), len(a), b.data_ptr(), len(b))

    def get(self, flat: Any, into: np.ndarray) -> None:
        self._torch.from_numpy(into).copy_(flat)

    def put(self, flat: Any, source: np.ndarray) -> None:
        flat.copy_(self._torch.from_numpy(source if source.flags.writeable else source.copy()))

    def pinned(self, size: int) -> np.ndarray:
        tensor = self._torch.empty(size, dtype=self._torch.uint8, pin_memory=self._device == "cuda")
        return np.asarray(tensor)

    def synchronize(self) -> None:
        if self._device == "cuda":
            self._torch.cuda.current_stream().synchronize()


class JaxKind(Kind):
    """Arrays of JAX on one platform: cpu, gpu, tpu. They are read-only, so they are made from host memory."""

    def __init__(self, platform: str) -> None:
        self.name = f"jax:{platform}"
        self._jax = importlib.import_module("jax")
        self._device = None
        if self._jax.default_backend() != platform:
            try:
                self._device = self._jax.local_devices(backend=platform)[0]
            except RuntimeError:
                raise ImportError(f"jax finds no {platform} here") from None

    @property
    def functions(self) -> Any:
        return self._jax.numpy

    def dtype(self, array: Any) -> str:
        return library_dtype_text(array.dtype.name)

    def _itemsize(self, name: str) -> int:
        return int(self._jax.numpy.dtype(name).itemsize)

    def can_hold(self, array: Any) -> bool:
        return False

    def flat(self, array: Any) -> Any:
        return super().flat(np.asarray(array))

    def shaped(self, flat: Any, text: str, shape: Sequence[int]) -> Any:
        dtype = dtype_of(text) if is_numpy_dtype(text) else self._jax.numpy.dtype(text)
        array = flat.view(dtype).reshape(shape) if flat.size else np.empty(shape, dtype)
        return self._jax.device_put(array, self._device)


def _ranges_overlap(a: int, size_a: int, b: int, size_b: int) -> bool:
    """Whether two ranges of addresses share an address."""
    return a < b + size_b and b < a + size_a
