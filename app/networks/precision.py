"""Copies of networks in another precision."""

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from sparseops import PackedWeight
from torch import nn

from .ptv3.attention import SerializedAttention


@dataclass(frozen=True)
class Precision:
    """How a network computes.

    Attributes:
        dtype: of weights and features.
        attention: what query, key, value and the result of attention are rounded to, as upstream does around flash
            attention; None for ``dtype`` alone.
    """

    dtype: torch.dtype
    attention: torch.dtype | None = None


PRECISIONS = {
    "fp32": Precision(torch.float32),
    "upstream": Precision(torch.float32, torch.bfloat16),
    "fp16": Precision(torch.float16),
    "bf16": Precision(torch.bfloat16),
}


def in_precision(network: nn.Module, precision: Precision) -> nn.Module:
    """``network``, which is folded, with weights in the precision's dtype for features in it.

    Sums inside operators, biases of convolutions and linear layers, batch norms that could not be folded and
    frequencies of rotary embeddings stay in float32. The given network stays as it is. Attention is not rounded where
    the config is one for upstream without flash attention.
    """
    if precision == PRECISIONS["fp32"] or isinstance(network, nn.BatchNorm1d):
        return network
    if getattr(network, "shares_patches", False):
        precision = replace(precision, attention=None)
    twin = copy.copy(network)
    vars(twin).update({name: _cast(value, precision.dtype) for name, value in vars(network).items()})
    twin._parameters = {name: _cast(weight, precision.dtype) for name, weight in network._parameters.items()}
    twin._modules = {
        name: child if child is None else in_precision(child, precision) for name, child in network._modules.items()
    }
    if isinstance(twin, SerializedAttention):
        twin.cast = precision.attention
    return twin


def _cast(value: Any, dtype: torch.dtype) -> Any:
    if isinstance(value, nn.Parameter):
        return nn.Parameter(value.to(dtype), requires_grad=False)
    return value.to(dtype) if isinstance(value, PackedWeight) else value
