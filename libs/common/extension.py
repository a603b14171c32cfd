"""Whether the compiled operators are here, and for what."""

import warnings
from importlib import import_module

from torch import Tensor


def _architectures() -> tuple[str, ...]:
    try:
        return tuple(import_module("._compiled", __package__).ARCHITECTURES.split(","))
    except ModuleNotFoundError:
        return ()
    except ImportError as error:
        warnings.warn(
            f"the compiled operators of {__package__} do not load, slow ones run instead; install it again: {error}",
            stacklevel=2,
        )
        return ()


ARCHITECTURES = _architectures()


def compiled_for(tensor: Tensor) -> bool:
    """Whether torch.ops has kernels of this library for the device of ``tensor``; for meta tensors it has shapes."""
    kind = tensor.device.type
    return bool(ARCHITECTURES) and (kind in ("cpu", "meta") or (kind == "cuda" and len(ARCHITECTURES) > 1))
