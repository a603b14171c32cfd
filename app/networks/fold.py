"""Folding: batch norms go into the weights before them, and modules are replaced by faster ones, for inference."""

import copy
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from .batch_invariant_linear import PackedLinear


@runtime_checkable
class Foldable(Protocol):
    """A module that has a faster equivalent for inference."""

    def folded(self) -> nn.Module:
        """The equivalent, on the module's device."""


@torch.no_grad()
def fold(network: nn.Module) -> nn.Module:
    """``network``, in eval mode on its final device, with every ``Foldable`` part and linear layer replaced.

    The given network stays as it is and shares what is not replaced.
    """
    if isinstance(network, Foldable):
        return network.folded()
    if isinstance(network, nn.Linear):
        return PackedLinear(network)
    return with_folded_parts(network)


def with_folded_parts(network: nn.Module) -> nn.Module:
    """A copy of ``network`` whose parts are folded, each by itself."""
    twin = copy.copy(network)
    twin._modules = {name: child if child is None else fold(child) for name, child in network._modules.items()}
    return twin
