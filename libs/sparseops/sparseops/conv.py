"""Sparse convolution: public, checked functions."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from . import reference
from .extension import compiled_for
from .kernel_map import GROUPED_OFFSETS, KernelMap
from .values import needs_gradient

ACTIVATIONS = {"none": 0, "relu": 1, "gelu": 2}  # numbers as in csrc/conv/activation.h
PACK_BYTES = 16  # that a GPU reads at a time
GATHERED_BYTES = 1 << 28  # of features that are gathered for gradients at a time
PART_ROWS = 2048  # of the output, whose products are summed first
COMPILED_DTYPES = {
    "cpu": (torch.float32, torch.bfloat16),
    "cuda": (torch.float32, torch.float16, torch.bfloat16),
    "meta": (torch.float64, torch.float32, torch.float16, torch.bfloat16),
}


@dataclass(frozen=True)
class PackedWeight:
    """A weight as the kernels of its device and dtype read it; ``pack_weight`` makes it.

    Attributes:
        data: with the compiled operators on the CPU (K, panels, C_in, 16), panels of 16 output channels, where bfloat16
            has pairs of input channels side by side, (K, panels, C_in / 2, 32); otherwise (C_out, K, C_in), on a GPU
            with both filled up to whole packs of 16 bytes.
    """

    data: Tensor
    out_channels: int
    num_offsets: int
    in_channels: int

    @property
    def sizes(self) -> tuple[int, int, int]:
        """C_out, K, C_in."""
        return self.out_channels, self.num_offsets, self.in_channels

    def to(self, dtype: torch.dtype) -> "PackedWeight":
        """The weight rounded to ``dtype``, packed for it."""
        return _pack(self._kernels().to(dtype))

    def _kernels(self) -> Tensor:
        """(C_out, K, C_in)."""
        if self.data.ndim == 3:
            return self.data[: self.out_channels, :, : self.in_channels].contiguous()
        per_unit = 2 if self.data.dtype == torch.bfloat16 else 1
        split = self.data.unflatten(-1, (-1, per_unit))  # (K, panels, units, 16, inputs of a unit)
        kernels = split.permute(1, 3, 0, 2, 4).flatten(0, 1).flatten(2)
        return kernels[: self.out_channels, :, : self.in_channels].contiguous()


def pack_weight(weight: Tensor) -> PackedWeight:
    """Pack a weight once for many calls of ``sparse_conv``.

    Args:
        weight: floating point (C_out, kx, ky, kz, C_in), spconv's layout, on the device and in the dtype of the
            features to come.

    Raises:
        ValueError: wrong shape or dtype.
    """
    _check_weight(weight)
    return _pack(weight.detach().flatten(1, 3).contiguous())


def _pack(kernels: Tensor) -> PackedWeight:  # (C_out, K, C_in)
    data = kernels
    if has_kernel(kernels) and kernels.device.type == "cpu":
        data = torch.ops.sparseops.pack_weight(kernels)
    elif has_kernel(kernels) and kernels.is_cuda:
        missing = [-size % (PACK_BYTES // kernels.element_size()) for size in (kernels.shape[2], kernels.shape[0])]
        data = nn.functional.pad(kernels, (0, missing[0], 0, 0, 0, missing[1])) if any(missing) else kernels
    return PackedWeight(data, *kernels.shape)


def sparse_conv(
    features: Tensor,
    weight: Tensor | PackedWeight,
    kernel_map: KernelMap | None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    activation: str = "none",
) -> Tensor:
    """Sparse convolution, activation(conv(features) + bias + residual).

    Sums are in float32 (float64 for float64), in an order that depends neither on the number of threads nor on other
    voxels. Batch norm in inference is folded into weight and bias by the caller. There are gradients by features, bias,
    residual and a weight that is not packed; they are sums in a fixed order too.

    Args:
        features: (num_in, C_in), contiguous, float32; bfloat16 (and float16 on a GPU) multiply in that precision.
        weight: (C_out, kx, ky, kz, C_in), spconv's layout, without a flip; or packed by ``pack_weight``.
        kernel_map: of kx * ky * kz offsets; entries that are no row of the features count as absent. None for a kernel
            of size 1 from every row onto itself, a linear layer.
        bias: (C_out,) in the dtype of the features or float32, or None.
        residual: (num_out, C_out), contiguous, in the dtype of the features, or None.
        activation: "none", "relu" or "gelu", which is x times the normal distribution at x.

    Returns:
        (num_out, C_out) in the dtype of the features.

    Raises:
        ValueError: a shape, dtype, device or name is wrong, or a tensor is not contiguous; on a GPU also more than
            16384 input channels, or more of them than its shared memory has room for at so many offsets.
    """
    _check(features, weight, kernel_map, bias, residual, activation)
    data = weight.data if isinstance(weight, PackedWeight) else weight
    if needs_gradient(features, data, bias, residual):
        if isinstance(weight, PackedWeight):
            raise ValueError("a packed weight gives no gradients; pass the plain weight, or call under torch.no_grad()")
        if kernel_map is None:
            kernel_map = KernelMap(torch.arange(len(features), dtype=torch.int32, device=features.device)[None])
        until = "none" if activation == "gelu" else activation  # whose gradient its result does not tell
        given = (features, weight.flatten(1, 3), bias, residual, kernel_map, until)
        out: Tensor = Convolution.apply(*given)  # type: ignore[no-untyped-call]
        return nn.functional.gelu(out) if activation == "gelu" else out
    packed = weight if isinstance(weight, PackedWeight) else pack_weight(weight)
    return _convolve(features, packed, kernel_map, bias, residual, activation)


def _convolve(
    features: Tensor,
    weight: PackedWeight,
    kernel_map: KernelMap | None,
    bias: Tensor | None,
    residual: Tensor | None,
    activation: str,
) -> Tensor:
    """What ``sparse_conv`` computes, without gradients."""
    if not has_kernel(features):
        return reference.sparse_conv(features, weight.data, kernel_map, bias, residual, activation)
    if bias is not None and bias.dtype != torch.float32:
        bias = bias.float()
    operands, number = (features, weight.data, weight.out_channels), ACTIVATIONS[activation]
    rows, order = (None, None) if kernel_map is None else table_for(kernel_map, features)
    if order is None:
        return torch.ops.sparseops.sparse_conv(*operands, rows, bias, residual, number)
    return torch.ops.sparseops.sparse_conv_grouped(*operands, rows, order, bias, residual, number)


def table_for(kernel_map: KernelMap, features: Tensor) -> tuple[Tensor, Tensor | None]:
    """The map's table for the kernels, and the order of its columns where that is not the order of rows."""
    if features.is_cuda and kernel_map.num_offsets in GROUPED_OFFSETS:
        order, rows = kernel_map.grouped
        return rows, order
    return kernel_map.forwards, None


class Convolution(torch.autograd.Function):
    """``sparse_conv`` of kernels (C_out, K, C_in), with its gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        kernels: Tensor,
        bias: Tensor | None,
        residual: Tensor | None,
        kernel_map: KernelMap,
        activation: str,
    ) -> Tensor:
        """The result (num_out, C_out); what the gradients need of it is saved."""
        out = _convolve(features, _pack(kernels.contiguous()), kernel_map, bias, residual, activation)
        ctx.save_for_backward(features, kernels, out if activation == "relu" else None)
        ctx.kernel_map, ctx.bias_dtype = kernel_map, None if bias is None else bias.dtype
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients by features, kernels, bias and residual.

        By the features it is the convolution of the gradient along the inverse map, kernels transposed; by the kernel
        of an offset the product of the features and gradients of its pairs.
        """
        features, kernels, out = ctx.saved_tensors
        gradient = (gradient if out is None else gradient.masked_fill(out <= 0, 0)).contiguous()
        by_features, by_kernels, by_bias, by_residual = (None,) * 4
        if ctx.needs_input_grad[0]:
            transposed = _pack(kernels.permute(2, 1, 0).contiguous())
            by_features = _convolve(gradient, transposed, ctx.kernel_map.inverse(), None, None, "none")
        if ctx.needs_input_grad[1]:
            products = _dense_products if features.is_cuda else _pair_products
            by_kernels = products(features, gradient, ctx.kernel_map).permute(1, 0, 2)
        if ctx.needs_input_grad[2]:
            sums = torch.promote_types(gradient.dtype, torch.float32)
            by_bias = gradient.sum(0, dtype=sums).to(ctx.bias_dtype)
        if ctx.needs_input_grad[3]:
            by_residual = gradient
        return by_features, by_kernels, by_bias, by_residual, None, None


def _pair_products(features: Tensor, gradient: Tensor, kernel_map: KernelMap) -> Tensor:
    """(K, C_out, C_in), offset by offset the product over its pairs: no work for voxels that are absent."""
    out = features.new_empty(kernel_map.num_offsets, gradient.shape[1], features.shape[1])
    pairs = (rows.split(kernel_map.counts) for rows in (kernel_map.in_rows, kernel_map.out_rows))
    for in_rows, out_rows, product in zip(*pairs, out, strict=True):
        torch.mm(gradient.index_select(0, out_rows).t(), features.index_select(0, in_rows), out=product)
    return out


def _dense_products(features: Tensor, gradient: Tensor, kernel_map: KernelMap) -> Tensor:
    """(K, C_out, C_in), zeros in the place of voxels that are absent: few launches, and no wait for the device.

    The rows of the output are cut into parts, whose products are summed: work for all processors, while one product
    over a hundred thousand rows would be long work for few.
    """
    (num_offsets, num_out), num_in, in_channels = kernel_map.forwards.shape, *features.shape
    num_parts = -(-num_out // PART_ROWS)
    missing = num_parts * PART_ROWS - num_out
    # a row more for the absent; a column more, as torch takes a block of threads for each row that begins at 16 bytes
    padded = nn.functional.pad(features, (0, 1, 0, 1))[:, :in_channels]
    rows = kernel_map.forwards.masked_fill((kernel_map.forwards < 0) | (kernel_map.forwards >= num_in), num_in)
    rows = nn.functional.pad(rows, (0, missing), value=num_in).t().reshape(num_parts, PART_ROWS * num_offsets)
    gradients = nn.functional.pad(gradient, (0, 0, 0, missing)).view(num_parts, PART_ROWS, gradient.shape[1]).mT
    bytes_a_part = max(rows.shape[1] * in_channels * features.element_size(), 1)
    sums = torch.promote_types(gradient.dtype, torch.float32)
    width = num_offsets * in_channels
    total = features.new_zeros(gradient.shape[1], width, dtype=sums)
    step = max(GATHERED_BYTES // bytes_a_part, 1)
    for some_rows, some_gradients in zip(rows.split(step), gradients.split(step), strict=True):
        gathered = padded.index_select(0, some_rows.flatten()).view(len(some_rows), PART_ROWS, width)
        total += (some_gradients @ gathered).sum(0, dtype=sums)
    return total.to(gradient.dtype).unflatten(1, (num_offsets, in_channels)).transpose(0, 1)


def has_kernel(tensor: Tensor) -> bool:
    """Whether the compiled operators convolve features such as ``tensor``."""
    return compiled_for(tensor) and tensor.dtype in COMPILED_DTYPES[tensor.device.type]


def _check_weight(weight: Tensor) -> None:
    if weight.ndim != 5 or not weight.is_floating_point():
        raise ValueError(f"weight must be (C_out, kx, ky, kz, C_in), got {weight.dtype} {tuple(weight.shape)}")


def _check(
    features: Tensor,
    weight: Tensor | PackedWeight,
    kernel_map: KernelMap | None,
    bias: Tensor | None,
    residual: Tensor | None,
    activation: str,
) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be {' or '.join(ACTIVATIONS)}, got {activation!r}")
    if isinstance(weight, PackedWeight):
        data, out_channels, num_offsets, in_channels = weight.data, *weight.sizes
    else:
        _check_weight(weight)
        data, out_channels, num_offsets, in_channels = weight, len(weight), weight.shape[1:4].numel(), weight.shape[4]
    if kernel_map is None:
        num_in = num_out = len(features) if features.ndim else 0
        map_offsets, device = 1, features.device
    else:
        map_offsets, num_out = kernel_map.forwards.shape
        num_in, device = kernel_map.num_in, kernel_map.forwards.device
    if num_offsets != map_offsets:
        raise ValueError(f"weight has {num_offsets} offsets, the kernel map {map_offsets}")
    dtypes = (features.dtype,)
    _check_tensor("features", features, (num_in, in_channels), features, dtypes)
    _check_tensor("weight", data, None, features, dtypes)
    if device != features.device:
        raise ValueError(f"the kernel map must be on {features.device} with features, got {device}")
    if bias is not None:
        _check_tensor("bias", bias, (out_channels,), features, (features.dtype, torch.float32))
    if residual is not None:
        _check_tensor("residual", residual, (num_out, out_channels), features, dtypes)


def _check_tensor(
    name: str, tensor: Tensor, shape: tuple[int, ...] | None, features: Tensor, dtypes: tuple[torch.dtype, ...]
) -> None:
    """``tensor`` is of one of ``dtypes``, lies with ``features`` and, unless ``shape`` is None, has it without gaps."""
    if (shape is not None and tensor.shape != shape) or tensor.dtype not in dtypes or tensor.device != features.device:
        raise ValueError(
            f"{name} must be {shape or tuple(tensor.shape)}, {features.dtype} on {features.device}, got "
            f"{tuple(tensor.shape)}, {tensor.dtype} on {tensor.device}"
        )
    if shape is not None and not tensor.is_contiguous():
        raise ValueError(f"{name} must be contiguous, got strides {tensor.stride()} for {shape}")
