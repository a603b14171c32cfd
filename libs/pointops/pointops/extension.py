"""Whether the compiled operators are here, and for what."""

import warnings

from torch import Tensor

try:
    from ._compiled import ARCHITECTURES as _BUILT_FOR

    ARCHITECTURES: tuple[str, ...] = tuple(_BUILT_FOR.split(","))
except ModuleNotFoundError:
    ARCHITECTURES = ()
except ImportError as error:
    warnings.warn(
        f"the compiled operators of pointops do not load, slow ones run instead; install it again: {error}",
        stacklevel=2,
    )
    ARCHITECTURES = ()


def compiled_for(tensor: Tensor) -> bool:
    """Whether torch.ops.pointops has kernels for the device of ``tensor``."""
    kind = tensor.device.type
    return bool(ARCHITECTURES) and (kind == "cpu" or (kind == "cuda" and len(ARCHITECTURES) > 1))
