"""A network's twin in half precision."""

import copy
from typing import Any

import torch
from sparseops import PackedWeight
from torch import nn

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def in_precision(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """``network``, which is folded, with weights in ``dtype`` for features in ``dtype``.

    Sums inside operators, biases of convolutions and linear layers, batch norms that could not be folded and
    frequencies of rotary embeddings stay in float32. The given network stays as it is.
    """
    if dtype == torch.float32 or isinstance(network, nn.BatchNorm1d):
        return network
    twin = copy.copy(network)
    vars(twin).update({name: _cast(value, dtype) for name, value in vars(network).items()})
    twin._parameters = {name: _cast(weight, dtype) for name, weight in network._parameters.items()}
    twin._modules = {
        name: child if child is None else in_precision(child, dtype) for name, child in network._modules.items()
    }
    return twin


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, nn.Parameter):
        return nn.Parameter(value.to(dtype), requires_grad=False)
    return value.to(dtype) if isinstance(value, PackedWeight) else value
