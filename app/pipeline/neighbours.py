"""Queries for neighbours that several features have in common."""

from collections.abc import Iterator

import torch
from pointops import knn_query
from torch import Tensor

CHUNK_POINTS = {"cpu": 30_000, "cuda": 250_000}  # what caches hold and one thread does soonest; 0.1 GiB


def nearest(places: Tensor, queries: Tensor) -> Tensor:
    """int64 (Q,), the row of ``places`` float32 (P, 3) nearest to each of ``queries`` float32 (Q, 3)."""
    end, query_end = (torch.full((1,), len(each), device=each.device) for each in (places, queries))
    rows, _ = knn_query(1, places, end, queries, query_end)
    return rows.flatten().long()


def chunks(coord: Tensor) -> Iterator[slice]:
    """The rows of ``coord`` (N, 3), so many at a time as suit work on their neighbours."""
    step = CHUNK_POINTS[coord.device.type]
    return (slice(start, start + step) for start in range(0, len(coord), step))
