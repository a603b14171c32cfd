"""Folding: a network with loaded weights becomes a quicker equal for inference."""

import copy
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from .batch_invariant_linear import PackedLinear


@runtime_checkable
class Foldable(Protocol):
    """A module with a quicker equal for inference."""

    def folded(self) -> nn.Module:
        """The equal, on the module's device."""


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
    """A twin of ``network`` whose parts are folded, each by itself."""
    twin = copy.copy(network)
    twin._modules = {name: child if child is None else fold(child) for name, child in network._modules.items()}
    return twin
