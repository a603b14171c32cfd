"""Networks made quick for inference once their weights are loaded."""

import copy

from torch import nn


def fold(network: nn.Module) -> nn.Module:
    """``network``, in eval mode on its final device, with every part replaced that has a ``folded()`` of its own.

    The given network stays as it is and shares what is not replaced.
    """
    if hasattr(network, "folded"):
        return network.folded()
    twin = copy.copy(network)
    twin._modules = {name: child if child is None else fold(child) for name, child in network._modules.items()}
    return twin
