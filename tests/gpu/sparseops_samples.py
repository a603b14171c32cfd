"""Voxels, kinds of arithmetic, and how far results may be apart."""

import contextlib
from collections.abc import Iterator

import torch

# of the norm: outputs are rounded to 11 and 8 bits, tf32 operands to 11, sums of 7,000 products in float32
TOLERANCES = {"float16": 4e-4, "bfloat16": 3e-3, "tf32": 5e-4, "float32": 3e-6}
KINDS = list(TOLERANCES)


@contextlib.contextmanager
def arithmetic(kind: str) -> Iterator[torch.dtype]:
    """The dtype of the features of a kind, with float32 as exact or as tf32."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = kind == "tf32"
    try:
        yield torch.float32 if kind == "tf32" else getattr(torch, kind)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def voxels(seed: int, number: int, size: int, batches: int = 2) -> torch.Tensor:
    """About `number` of them, no two alike, in no order."""
    generator = torch.Generator().manual_seed(seed)
    coords = torch.randint(0, size, (number, 4), generator=generator)
    coords[:, 0] %= batches
    coords = coords.unique(dim=0)
    return coords[torch.randperm(len(coords), generator=generator)].contiguous()


def poison(*shape: int, dtype: torch.dtype) -> None:
    """Leaves NaN in the memory that the next tensor of this size gets."""
    torch.full(shape, float("nan"), dtype=dtype, device="cuda")


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found.cpu().double() - expected).norm() / expected.norm().clamp(min=1e-30))
