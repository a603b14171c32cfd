"""Linear layers, batch norms and ReLUs in a row."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from .batch_invariant_linear import PackedLinear


class Layers(nn.Sequential):
    """Linear layers, batch norms and ReLUs in a row, over the last dimension."""

    def forward(self, x: Tensor) -> Tensor:  # (..., in) -> (..., out)
        return super().forward(x.flatten(0, -2)).unflatten(0, x.shape[:-1])  # type: ignore[no-untyped-call]

    def folded(self) -> "Layers":
        """For inference: every batch norm that follows a linear layer is in it."""
        parts = list(_flat(self))
        folded: list[nn.Module] = []
        for part, after in zip(parts, [*parts[1:], None], strict=True):
            if isinstance(part, nn.Linear):
                folded.append(PackedLinear(part, after if isinstance(after, nn.BatchNorm1d) else None))
            elif not (folded and isinstance(part, nn.BatchNorm1d) and isinstance(folded[-1], PackedLinear)):
                folded.append(part)
        return Layers(*folded)


def concatenate_chunks(size: int, compute: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """``compute`` on ``size`` rows of the tensors at a time, so that what it holds meanwhile is bounded."""
    return torch.cat([compute(*rows) for rows in zip(*(tensor.split(size) for tensor in tensors), strict=True)])


def _flat(layers: nn.Sequential) -> Iterator[nn.Module]:
    for part in layers:
        yield from _flat(part) if isinstance(part, nn.Sequential) else [part]
