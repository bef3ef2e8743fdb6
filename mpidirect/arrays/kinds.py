"""The kinds of arrays: numpy's, CuPy's, PyTorch's and JAX's, each on the host or on a device.

Arrays travel as bytes. Their kind knows how an array becomes bytes, and how bytes become an array again, on a
device of the same sort. A library is imported for that only where one of its arrays arrives: who has one has
imported it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import math
import sys
from collections.abc import Sequence
from typing import Any

from .lazy_numpy import np

NAMES = frozenset({"ndarray", "Tensor", "ArrayImpl"})  # of the types that can be arrays


@functools.lru_cache(256)
def dtype_text(dtype: np.dtype) -> str:
    """`dtype` as text from which `dtype_of` makes it again; empty where that is not possible.

    Equal dtypes have equal texts in every process, which is not true of their pickles.
    """
    if dtype.hasobject or dtype.metadata or not getattr(type(dtype), "_legacy", True):
        return ""
    try:
        text = repr(np.lib.format.dtype_to_descr(dtype))
        return text if dtype_of(text) == dtype else ""
    except ValueError:  # fields that overlap
        return ""


@functools.lru_cache(256)
def dtype_of(text: str) -> np.dtype:
    """The dtype of a text of `dtype_text`."""
    return np.lib.format.descr_to_dtype(ast.literal_eval(text))


def _text_of(name: str) -> str:
    """The text of a library's dtype: numpy's where numpy has it, else its name (``bfloat16``)."""
    try:
        return dtype_text(np.dtype(name)) or name
    except TypeError:
        return name


def _is_numpys(text: str) -> bool:
    return not text.isidentifier()


class Kind:
    """numpy's arrays; the other kinds say what is different.

    The bytes of an array, here *flat*, are an array of one dimension and type uint8. Where numpy can use the
    array's memory, flat is numpy's, else the library's own.

    Attributes
    ----------
    name : str
        The same in all processes.
    on_device : bool
        Whether numpy can't use the memory. Then `get` and `put` copy pieces of it.
    """

    name = "numpy"
    on_device = False

    @property
    def functions(self) -> Any:
        """A module whose functions on these arrays have numpy's names."""
        return np

    def dtype(self, array: Any) -> str:
        """The type of its elements, as text; empty where bytes do not say all."""
        return dtype_text(array.dtype)

    def numpy_dtype(self, text: str) -> np.dtype | None:
        """The same type in numpy, if it has it."""
        return dtype_of(text) if _is_numpys(text) else None

    def itemsize(self, text: str) -> int:
        """The bytes of one element."""
        return dtype_of(text).itemsize if _is_numpys(text) else self._itemsize(text)

    def _itemsize(self, name: str) -> int:
        raise TypeError(f"numpy has no dtype {name!r}")

    def can_hold(self, array: Any) -> bool:
        """Whether what is written to its flat bytes is in the array."""
        return bool(array.flags.c_contiguous and array.flags.writeable)

    def flat(self, array: Any) -> Any:
        """Its bytes: its own memory if that is contiguous, else a copy."""
        if not array.nbytes:
            return np.empty(0, np.uint8)
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8)

    def empty(self, size: int, like: Any = None) -> Any:
        """Flat bytes to receive into, on the device of the array `like` if there is one."""
        return np.empty(size, np.uint8)

    def shaped(self, flat: Any, text: str, shape: Sequence[int]) -> Any:
        """The array of these bytes; it owns them."""
        dtype = dtype_of(text)
        return flat.view(dtype).reshape(shape) if flat.size else np.empty(shape, dtype)

    def overlap(self, a: Any, b: Any) -> bool:
        """Whether these flat bytes share memory."""
        return bool(np.may_share_memory(a, b))

    # -- of those on a device ------------------------------------------------------------------------

    @property
    def platform(self) -> str:
        """How MPI calls the devices: cuda, rocm; empty for others."""
        return ""

    def get(self, flat: Any, into: np.ndarray) -> None:
        """Copy bytes of the device to the host."""
        raise NotImplementedError

    def put(self, flat: Any, source: np.ndarray) -> None:
        """Copy bytes of the host to the device; when this returns they have been read."""
        raise NotImplementedError

    def pinned(self, size: int) -> np.ndarray:
        """Memory of the host that the device copies from and to fast."""
        return np.empty(size, np.uint8)

    def synchronize(self) -> None:
        """Wait until the device has done what it was asked to do."""


class _CuPy(Kind):
    """Arrays of CuPy, and of libraries with its interface: `name` is the package."""

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
        return _cross(a.data.ptr, a.size, b.data.ptr, b.size)

    def get(self, flat: Any, into: np.ndarray) -> None:
        if flat.size:
            flat.get(out=into)

    def put(self, flat: Any, source: np.ndarray) -> None:
        if flat.size:
            flat.set(source)
            self.synchronize()  # pinned memory is read later

    def pinned(self, size: int) -> np.ndarray:
        return np.frombuffer(self._cupy.cuda.alloc_pinned_memory(size), np.uint8, size)

    def synchronize(self) -> None:
        self._cupy.cuda.get_current_stream().synchronize()


class _Torch(Kind):
    """Tensors of PyTorch on a sort of device: cpu, cuda, xpu, …"""

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
        return _text_of(str(array.dtype).removeprefix("torch."))

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
        dtype = getattr(self._torch, dtype_of(text).name if _is_numpys(text) else text)
        if not len(flat):
            return self._torch.empty(tuple(shape), dtype=dtype, device=self._device)
        if not self.on_device:
            # torch knows no memory that is only to be read, and takes each element to be aligned
            good = flat.flags.writeable and not flat.ctypes.data % self.itemsize(text)
            flat = self._torch.from_numpy(flat if good else flat.copy())
        return flat.view(dtype).reshape(tuple(shape))

    def overlap(self, a: Any, b: Any) -> bool:
        if not self.on_device:
            return super().overlap(a, b)
        return _cross(a.data_ptr(), len(a), b.data_ptr(), len(b))

    def get(self, flat: Any, into: np.ndarray) -> None:
        self._torch.from_numpy(into).copy_(flat)

    def put(self, flat: Any, source: np.ndarray) -> None:
        flat.copy_(self._torch.from_numpy(source if source.flags.writeable else source.copy()))

    def pinned(self, size: int) -> np.ndarray:
        return self._torch.empty(size, dtype=self._torch.uint8, pin_memory=self._device == "cuda").numpy()

    def synchronize(self) -> None:
        if self._device == "cuda":
            self._torch.cuda.current_stream().synchronize()


class _Jax(Kind):
    """Arrays of JAX on a platform: cpu, gpu, tpu. They can't be written to: they come from the host whole."""

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
        return _text_of(array.dtype.name)

    def _itemsize(self, name: str) -> int:
        return int(self._jax.numpy.dtype(name).itemsize)

    def can_hold(self, array: Any) -> bool:
        return False

    def flat(self, array: Any) -> Any:
        return super().flat(np.asarray(array))

    def shaped(self, flat: Any, text: str, shape: Sequence[int]) -> Any:
        dtype = dtype_of(text) if _is_numpys(text) else self._jax.numpy.dtype(text)
        array = flat.view(dtype).reshape(shape) if flat.size else np.empty(shape, dtype)
        return self._jax.device_put(array, self._device)


NUMPY = Kind()


@functools.cache
def named(name: str) -> Kind:
    """The kind of this name; ImportError where there is no such library or device."""
    package, _, device = name.partition(":")
    if package == "numpy":
        return NUMPY
    if package == "torch":
        return _Torch(device)
    return _Jax(device) if package == "jax" else _CuPy(package)


def of(value: Any) -> Kind | None:
    """The kind of an array whose bytes say all; None for anything else: a subclass, an array of objects."""
    cls = type(value)
    if cls.__name__ not in NAMES:
        return None
    if cls is np.ndarray:
        return NUMPY if dtype_text(value.dtype) else None
    package = str(cls.__module__).partition(".")[0]  # of extension types it need not be a text
    if package == "torch":
        plain = cls is sys.modules["torch"].Tensor and value.layout is sys.modules["torch"].strided
        special = plain and (value.is_quantized or value.device.type == "meta")
        return named(f"torch:{value.device.type}") if plain and not special else None
    if package == "jaxlib":
        if not value.is_fully_addressable or value.weak_type or not value.dtype.name.isidentifier():
            return None
        return named(f"jax:{next(iter(value.devices())).platform}")
    if hasattr(cls, "__cuda_array_interface__") and hasattr(sys.modules.get(package), "asnumpy"):
        kind = named(package)
        return kind if kind.dtype(value) else None
    return None


def form_of(value: Any) -> str:
    """What errors say of a value: ``float64[3, 4]``, ``cupy float64[3]``, or the name of its type.

    Examples
    --------
    >>> form_of(np.zeros((3, 4))), form_of([1, 2])
    ('float64[3, 4]', 'list')
    """
    kind = of(value)
    if kind is None and not isinstance(value, np.ndarray):
        return type(value).__name__
    library = "" if kind is None or kind is NUMPY else f"{kind.name} "
    dtype = str(value.dtype).removeprefix("torch.")
    return f"{library}{dtype}[{', '.join(map(str, value.shape))}]"


def functions(*values: Any) -> Any:
    """The module whose functions take these arrays by numpy's names; None where none of them is an array."""
    for value in values:
        if isinstance(value, np.ndarray):
            return np
        kind = of(value)
        if kind is not None:
            return kind.functions
    return None


def concatenated(parts: Sequence[Any]) -> Any:
    """Arrays of one kind end to end, on their device; those without dimensions as items."""
    module = functions(*parts)
    return module.concatenate(list(parts)) if parts[0].ndim else module.stack(list(parts))


def on_host(array: Any, kind: Kind) -> np.ndarray:
    """A numpy array with the content of `array`: the same memory if possible."""
    flat, text, shape = kind.flat(array), kind.dtype(array), tuple(array.shape)
    if kind.on_device:
        host = np.empty(math.prod(shape) * kind.itemsize(text), np.uint8)
        kind.get(flat, host)
        flat = host
    dtype = dtype_of(text) if _is_numpys(text) else np.dtype(("V", kind.itemsize(text)))
    return flat.view(dtype).reshape(shape) if flat.size else np.empty(shape, dtype)


# -- in pickles -----------------------------------------------------------------------------------------


def reduce(array: Any) -> tuple[Any, ...] | None:
    """How an array of another library than numpy is pickled; None where its own way is right."""
    kind = of(array)
    if kind is None or kind is NUMPY:
        return None
    gradient = False
    if kind.name.startswith("torch:"):
        if vars(array) or array._backward_hooks:
            return None
        gradient = array.requires_grad
    flat = kind.flat(array)
    if kind.on_device:
        host = np.empty(len(flat), np.uint8)
        kind.get(flat, host)
        flat = host
    arguments = (kind.name, kind.dtype(array), tuple(array.shape), flat)
    return arrived, (*arguments, True) if gradient else arguments


def arrived(name: str, text: str, shape: tuple[int, ...], flat: np.ndarray, gradient: bool = False) -> Any:
    """The array that was pickled; without its library here numpy's, without its device on the host."""
    kind = _nearest(name)
    if kind is NUMPY and not _is_numpys(text):
        raise ImportError(f"an array of {name} with the dtype {text} came, which numpy does not have")
    if kind.on_device:
        room = kind.empty(len(flat))
        kind.put(room, flat)
        flat = room
    array = kind.shaped(flat, text, shape)
    return array.requires_grad_() if gradient and kind is not NUMPY else array


def _nearest(name: str) -> Kind:
    package = name.partition(":")[0]
    host = f"{package}:cpu" if package in ("torch", "jax") else "numpy"
    for one in (name, host):
        try:
            return named(one)
        except ImportError:
            pass
    return NUMPY


def _cross(a: int, size_a: int, b: int, size_b: int) -> bool:
    return a < b + size_b and b < a + size_a
