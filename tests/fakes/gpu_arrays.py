"""A fake of CuPy for hosts without a GPU: arrays in memory that numpy can't access.

It has the functions and methods of CuPy that mpidirect uses, with CuPy's rules: no implicit conversion to
numpy, no operations with numpy's arrays, copies from and to contiguous memory only. The *device* is memory of
this process, so an MPI that supports device memory can use it.
"""

from __future__ import annotations

import types

import numpy as np

COPIED = {"to host": 0, "largest": 0}  # bytes, for tests that check how data is moved


class _Device:
    id = 0

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


class ndarray:
    __slots__ = ("_memory",)
    device = _Device()

    def __init__(self, memory):
        self._memory = memory

    def __array__(self, dtype=None, copy=None):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")

    @property
    def __cuda_array_interface__(self):
        memory = self._memory
        strides = None if memory.flags.c_contiguous else memory.strides
        where = (memory.ctypes.data if memory.size else 0, False)
        return {
            "shape": memory.shape,
            "typestr": memory.dtype.str,
            "strides": strides,
            "data": where,
            "version": 3,
        }

    def __dlpack_device__(self):
        return (2, 0)  # CUDA

    def __dlpack__(self, *, stream=None, **options):
        return self._memory.__dlpack__(**options)

    def get(self, out=None):
        if out is None:
            return self._memory.copy()
        if out.dtype != self.dtype or out.shape != self.shape or not out.flags.c_contiguous:
            raise ValueError("the array to copy to does not fit")
        COPIED["to host"] += out.nbytes
        COPIED["largest"] = max(COPIED["largest"], out.nbytes)
        out[...] = self._memory
        return out

    def set(self, array):
        if not isinstance(array, np.ndarray) or array.dtype != self.dtype or array.shape != self.shape:
            raise TypeError("the array to copy from does not fit")
        if not self._memory.flags.c_contiguous:
            raise RuntimeError("Cannot set to non-contiguous array")
        self._memory[...] = array

    dtype = property(lambda self: self._memory.dtype)
    shape = property(lambda self: self._memory.shape)
    ndim = property(lambda self: self._memory.ndim)
    size = property(lambda self: self._memory.size)
    nbytes = property(lambda self: self._memory.nbytes)
    flags = property(lambda self: self._memory.flags)
    data = property(lambda self: types.SimpleNamespace(ptr=self._memory.ctypes.data))

    def __len__(self):
        return len(self._memory)

    def __getitem__(self, key):
        return ndarray(np.asarray(self._memory[_inside(key)]))

    def __setitem__(self, key, value):
        self._memory[key] = _inside(value)

    def reshape(self, *shape):
        return ndarray(self._memory.reshape(*shape))

    def view(self, dtype):
        return ndarray(self._memory.view(dtype))

    def copy(self):
        return ndarray(self._memory.copy())

    def __deepcopy__(self, memo):
        return self.copy()

    def __reduce__(self):
        return asarray, (self._memory.copy(),)

    def __repr__(self):
        return repr(self._memory)

    def __add__(self, other):
        return ndarray(self._memory + _inside(other))

    def __sub__(self, other):
        return ndarray(self._memory - _inside(other))

    def __mul__(self, other):
        return ndarray(self._memory * _inside(other))

    __radd__, __rmul__ = __add__, __mul__

    def __iadd__(self, other):
        self._memory += _inside(other)
        return self

    def __gt__(self, other):
        return ndarray(self._memory > _inside(other))

    def __lt__(self, other):
        return ndarray(self._memory < _inside(other))

    def __le__(self, other):
        return ndarray(self._memory <= _inside(other))

    def __eq__(self, other):
        return ndarray(self._memory == _inside(other))

    def __and__(self, other):
        return ndarray(self._memory & _inside(other))

    def __or__(self, other):
        return ndarray(self._memory | _inside(other))

    def sum(self):
        return ndarray(np.asarray(self._memory.sum()))

    def __float__(self):
        return float(self._memory)


def _inside(value):
    if isinstance(value, ndarray):
        return value._memory
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError(f"Unsupported type {type(value)}")
    return value


def asarray(array, dtype=None):
    if isinstance(array, ndarray):
        return array if dtype in (None, array.dtype) else ndarray(array._memory.astype(dtype))
    return ndarray(np.array(array, dtype))


def asnumpy(array):
    return array.get()


def empty(shape, dtype=float):
    return ndarray(np.empty(shape, dtype))


def _like_numpys(name):
    function = getattr(np, name)

    def on_device(*arrays, **options):
        lists = [[_inside(item) for item in a] if isinstance(a, list) else _inside(a) for a in arrays]
        return ndarray(np.asarray(function(*lists, **options)))

    on_device.__name__ = name
    return on_device


for _name in (
    *("arange", "zeros", "ones", "full", "full_like", "concatenate", "stack", "where", "ascontiguousarray"),
    *("add", "multiply", "maximum", "minimum", "logical_and", "logical_or", "logical_xor"),
    *("bitwise_and", "bitwise_or", "bitwise_xor"),
):
    globals()[_name] = _like_numpys(_name)


class cuda:
    runtime = types.SimpleNamespace(is_hip=False)

    @staticmethod
    def is_available():
        return True

    @staticmethod
    def alloc_pinned_memory(size):
        return bytearray(size)

    @staticmethod
    def get_current_stream():
        return types.SimpleNamespace(synchronize=lambda: None)
