"""Steps between levels of voxels in a call each, for inference."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .block import LinearWeights
from .conv import has_kernel, sparse_conv
from .segments import segment_reduce
from .values import needs_gradient


@dataclass(frozen=True)
class BatchNormWeights:
    """A batch norm's weight and bias, (C,) or None, its running mean and variance, (C,), and what is added to that."""

    weight: Tensor | None
    bias: Tensor | None
    mean: Tensor
    variance: Tensor
    eps: float


@dataclass(frozen=True)
class PoolingStep:
    """A linear layer, the maximum over each segment of rows, a batch norm, a GELU."""

    linear: LinearWeights
    norm: BatchNormWeights

    def run(self, x: Tensor, starts: Tensor) -> Tensor:
        """(V, C) to (W, C_out); ``starts`` is int64 (W + 1,), as for ``segment_reduce``.

        On the processor the bits are those of ``sparse_conv``, ``segment_reduce``, ``batch_norm`` and ``gelu``, and
        ValueError is raised as these do; a GPU rounds what they compute once.
        """
        norm, channels = self.norm, self.linear.weight.out_channels
        if has_kernel(x) and not needs_gradient(x):
            tensors = [norm.weight, norm.bias, norm.mean, norm.variance]
            return torch.ops.sparseops.pool(x, starts, self.linear.tensors, tensors, norm.eps, channels)
        largest = segment_reduce(sparse_conv(x, self.linear.weight, None, self.linear.bias), starts, "max")
        affine = (norm.weight, norm.bias)
        return nn.functional.gelu(nn.functional.batch_norm(largest, norm.mean, norm.variance, *affine, eps=norm.eps))


@dataclass(frozen=True)
class UnpoolingStep:
    """Two linear layers, each with a GELU: of coarse rows, and of the rows of a finer level."""

    proj: LinearWeights
    proj_skip: LinearWeights

    def run(self, x: Tensor, skip: Tensor, parents: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of the finer level, to which those of their parents are added, (V, C), and without these.

        The bits are those of ``sparse_conv``, ``index_select`` and a sum, and ValueError is raised as these do.
        ``x`` is (W, C_in), ``skip`` (V, C_skip), ``parents`` int64 (V,), rows of ``x``.
        """
        if has_kernel(x) and not needs_gradient(x, skip):
            tensors = [*self.proj.tensors, *self.proj_skip.tensors]
            return torch.ops.sparseops.unpool(x, skip, parents, tensors, self.proj.weight.out_channels)
        skip = sparse_conv(skip, self.proj_skip.weight, None, self.proj_skip.bias, activation="gelu")
        coarse = sparse_conv(x, self.proj.weight, None, self.proj.bias, activation="gelu")
        return skip + coarse.index_select(0, parents), skip
