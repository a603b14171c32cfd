"""Which voxel meets which, offset by offset, in a sparse convolution."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .extension import compiled_for

GROUPED_OFFSETS = range(8, 32)  # fewer leave little to skip, more do not fit into a mask


@dataclass(frozen=True)
class KernelMap:
    """For each output voxel and each of the K offsets of a kernel, the input voxel that is read there.

    Layout, the same on every device: a dense table, one contiguous row an offset, so that neighbouring threads read
    neighbouring entries, an offset's pairs of a range of outputs are one slice, and building it needs no counting pass
    and no wait for the device. Operators are right for voxels in any order and fastest where coordinates ascend
    (``sort_voxels``): nearby rows then have nearby neighbours.

    Attributes:
        forwards: int32 (K, num_out), contiguous. ``forwards[k, out]`` is the row of the input that output row ``out``
            reads with the weight of offset k, -1 for no voxel. Offsets are in the order of the weight's flattened
            (kx, ky, kz).
        backwards: int32 (K, num_in), the same pairs from the side of the input: ``backwards[k, in]`` is the output row
            that reads input row ``in`` at offset k, or -1. None for a submanifold map, whose offsets mirror each other:
            there it is ``forwards.flip(0)``.
    """

    forwards: Tensor
    backwards: Tensor | None = None

    @property
    def num_offsets(self) -> int:
        """K."""
        return self.forwards.shape[0]

    @property
    def num_out(self) -> int:
        """Voxels of the output."""
        return self.forwards.shape[1]

    @property
    def num_in(self) -> int:
        """Voxels of the input."""
        return self.num_out if self.backwards is None else self.backwards.shape[1]

    def to(self, device: torch.device | str) -> "KernelMap":
        """The map on another device."""
        backwards = None if self.backwards is None else self.backwards.to(device)
        return KernelMap(self.forwards.to(device), backwards)

    def inverse(self) -> "KernelMap":
        """The pairs backwards, as an inverse convolution and gradients use them; made once."""
        return self._inverse

    @cached_property
    def _inverse(self) -> "KernelMap":
        if self.backwards is None:
            return KernelMap(self.forwards.flip(0))
        return KernelMap(self.backwards, self.forwards)

    def inner(self, kernel_size: int) -> "KernelMap":
        """Of a submanifold map, the one of a smaller kernel, odd: the offsets in its middle."""
        size = round(self.num_offsets ** (1 / 3))
        middle = slice((size - kernel_size) // 2, (size + kernel_size) // 2)
        return KernelMap(self.forwards.view(size, size, size, -1)[middle, middle, middle].flatten(0, 2))

    @cached_property
    def grouped(self) -> tuple[Tensor, Tensor]:
        """Output rows in an order that brings those with like neighbours together, int32 (num_out,), and ``forwards``
        in that order, int32 (K, num_out). Compiled, on a GPU, for at most 31 offsets."""
        (order,), (rows,) = torch.ops.sparseops.group_rows([self.forwards])
        return order, rows

    @staticmethod
    def group(maps: Sequence["KernelMap"]) -> None:
        """Make ``grouped`` of those of ``maps`` that convolutions read by it, at once; of none where they do not."""
        fitting = [each for each in maps if each.forwards.is_cuda and each.num_offsets in GROUPED_OFFSETS]
        if fitting and compiled_for(fitting[0].forwards):
            found = torch.ops.sparseops.group_rows([each.forwards for each in fitting])
            for each, *grouped in zip(fitting, *found, strict=True):
                vars(each)["grouped"] = tuple(grouped)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Pairs of each offset. Waits for the device."""
        return tuple(self._present.sum(1).tolist())

    @cached_property
    def out_rows(self) -> Tensor:
        """int64 (P,), the output rows of all pairs, offset by offset, ascending within one. Waits for the device."""
        return self._present.nonzero()[:, 1]

    @cached_property
    def in_rows(self) -> Tensor:
        """int64 (P,), the input rows that belong to ``out_rows``."""
        return self.forwards[self._present].long()

    @property
    def _present(self) -> Tensor:
        """bool (K, num_out), whether an entry is a row of the input."""
        return (self.forwards >= 0) & (self.forwards < self.num_in)
