"""Recognition of the errors of absent devices and of too little memory on them."""

from __future__ import annotations

import sys

_UNAVAILABLE = (
    "Found no NVIDIA driver",
    "NVIDIA driver on your system is too old",
    "No CUDA GPUs are available",
    "CUDA driver initialization failed",
    "CUDA unknown error",
    "CUDA error: invalid device ordinal",
    "CUDA error: no CUDA-capable device is detected",
    "CUDA-capable device(s) is/are busy or unavailable",
    "CUDA error: no kernel image is available",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "Torch not compiled with CUDA enabled",
    "torch.cuda.is_available() is False",
    "Attempting to deserialize object on CUDA device",
    "PyTorch is not linked with support for mps devices",
    "The MPS backend is supported on",
    "MPS backend out of memory",
    "No supported gpu backend found",
    "can not run on your system since the accelerator is not available",
)
"""Parts of the messages of PyTorch and Lightning Fabric."""


def is_device_error(error: BaseException) -> bool:
    """Return True if an error says that a CUDA or MPS device is absent, unavailable or out of memory.

    Torch is not imported for it: without torch in the process there is no such error.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    if isinstance(error, torch.OutOfMemoryError):
        return True
    # Torch has no exceptions of their own for the rest, and one of them is an assertion.
    return isinstance(error, RuntimeError | AssertionError) and any(part in str(error) for part in _UNAVAILABLE)
