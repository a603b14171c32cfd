"""Batch-invariant linear layers: a row's result does not depend on the other rows."""

from sparseops import KernelMap, pack_weight, sparse_conv
from torch import Tensor, nn


class Linear(nn.Linear):
    """A linear layer of rows taken by a map of one offset, with a residual added."""

    def forward(
        self, x: Tensor, rows: KernelMap | None = None, residual: Tensor | None = None
    ) -> Tensor:  # (V, in), (W, out) -> (W, out)
        out = super().forward(x if rows is None else x.index_select(0, rows.forwards[0]))
        return out if residual is None else out + residual


class PackedLinear(nn.Module):
    """A linear layer for inference, as a sparse convolution of kernel size 1.

    Torch's own layer is slower on a processor, and its sums depend on how many rows there are. ``norm``, a batch norm
    that comes after the layer, is folded into the weight; ``activation`` is one of ``sparse_conv``.
    """

    bias: Tensor | None

    def __init__(self, linear: nn.Linear, norm: nn.BatchNorm1d | None = None, activation: str = "none"):
        super().__init__()
        self.activation = activation
        weight = linear.weight.double()
        bias = None if linear.bias is None else linear.bias.double()
        if norm is not None:
            if norm.running_mean is None or norm.running_var is None:
                raise ValueError("a batch norm without running statistics cannot be folded")
            scale = norm.weight.double() * (norm.running_var.double() + norm.eps).rsqrt()
            bias = (0 if bias is None else bias) - norm.running_mean.double()
            weight, bias = weight * scale[:, None], bias * scale + norm.bias.double()
        self.weight = pack_weight(weight.to(linear.weight.dtype)[:, None, None, None])
        self.register_buffer("bias", None if bias is None else bias.to(linear.weight.dtype))

    def forward(
        self, x: Tensor, rows: KernelMap | None = None, residual: Tensor | None = None
    ) -> Tensor:  # (V, in), (W, out) -> (W, out)
        return sparse_conv(x, self.weight, rows, self.bias, residual, self.activation)


def products(x: Tensor, others: Tensor) -> Tensor:  # (V, C), (K, C) -> (V, K)
    """Dot products of every row with each of ``others``, whatever other rows ``x`` has."""
    return sparse_conv(x.contiguous(), others[:, None, None, None].contiguous(), None)
