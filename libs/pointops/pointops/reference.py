"""The operators in plain torch, differentiable by torch itself. Slow, in bounded memory, on any device.

Names, arguments and results are those of torch.ops.pointops; arguments are checked by the public functions.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

CHUNK = 1 << 22  # distances held at a time
MISSING_DISTANCE2 = 1e10
LARGEST = torch.finfo(torch.float32).max
SAME_POINT_DISTANCE2 = 1e-5


def knn_query(xyz: Tensor, offset: Tensor, queries: Tensor, query_offset: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Indices (m, k) and squared distances, ascending by both; see pointops.knn_query."""
    index, distance2 = _nothing_found(queries, k)
    for rows, start, d2 in _blocks(xyz, offset, queries, query_offset):
        found = min(k, d2.shape[1])
        places = torch.arange(d2.shape[1], device=xyz.device)
        # bits of a float ascend with it, so that a pair of it and the place sorts by both
        pairs = (d2.view(torch.int32).long() << 32 | places).topk(found, dim=1, largest=False, sorted=True).values
        nearest = (pairs >> 32).int().view(torch.float32)
        finite = nearest <= LARGEST
        index[rows, :found] = torch.where(finite, (pairs & 0xFFFFFFFF) + start, -1).int()
        distance2[rows, :found] = torch.where(finite, nearest, MISSING_DISTANCE2)
    return index, distance2


def ball_query(
    xyz: Tensor,
    offset: Tensor,
    queries: Tensor,
    query_offset: Tensor,
    samples: int,
    min_radius: float,
    max_radius: float,
    rank: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Indices (m, samples) and squared distances; rank (n,) in a random order, or None; see pointops.ball_query."""
    index, distance2 = _nothing_found(queries, samples)
    min2, max2 = torch.tensor([min_radius, max_radius], dtype=torch.float32).square().tolist()
    for rows, start, d2 in _blocks(xyz, offset, queries, query_offset):
        candidates = (d2 <= SAME_POINT_DISTANCE2) | ((d2 >= min2) & (d2 < max2))
        for row, held in enumerate(candidates):
            found = held.nonzero()[:, 0]  # ascending
            if rank is not None:
                found = found[rank[found + start].argsort()]
            else:
                found = found[drained_heap_order(d2[row, found])]
                if len(found) > samples:
                    step = torch.tensor(len(found), dtype=torch.float32) / samples
                    found = found[(step * torch.arange(samples)).long().clamp(max=len(found) - 1).to(found.device)]
            found = found[:samples]
            index[rows.start + row, : len(found)] = (found + start).int()
            distance2[rows.start + row, : len(found)] = d2[row, found]
    return index, distance2


def drained_heap_order(d2: Tensor) -> Tensor:
    """The places of ``d2`` in the order in which Pointcept's kernel leaves candidates.

    Its heap sort drains a list that was never made a heap: every step swaps the first with the last of what is left and
    lets the new first sink. So the order is only roughly by distance.
    """
    distances, places = d2.tolist(), list(range(len(d2)))
    for last in range(len(places) - 1, 0, -1):
        places[0], places[last] = places[last], places[0]
        root, child = 0, 1
        while child < last:
            if child + 1 < last and distances[places[child + 1]] > distances[places[child]]:
                child += 1
            if distances[places[root]] > distances[places[child]]:
                break
            places[root], places[child] = places[child], places[root]
            root, child = child, 2 * child + 1
    return torch.tensor(places, dtype=torch.long, device=d2.device)


def farthest_point_sampling(xyz: Tensor, offset: Tensor, sample_offset: Tensor, samples: int) -> Tensor:
    """Indices (samples,) int32; see pointops.farthest_point_sampling."""
    chosen = torch.zeros(samples, dtype=torch.long, device=xyz.device)
    for (begin, end), (first, last) in zip(_segments(offset), _segments(sample_offset), strict=True):
        points = xyz[begin:end]
        distance2 = torch.where(points.isfinite().all(1), LARGEST, 0.0)
        place = torch.zeros((), dtype=torch.long, device=xyz.device)
        for sample in range(first, last):
            chosen[sample] = place + begin
            d2 = _distance2(points[place][None], points)[0]
            distance2 = torch.where(d2 < distance2, d2, distance2)
            place = (distance2 == distance2.max()).int().argmax()  # the first of equals
    return chosen.int()


def neighbour_moments(xyz: Tensor, queries: Tensor, index: Tensor, used: int) -> Tensor:
    """float64 (10, m); see pointops.neighbour_moments."""
    out = torch.zeros(10, len(queries), dtype=torch.float64, device=queries.device)
    for chunk in torch.arange(len(queries), device=queries.device).split(max(1, CHUNK // used)):
        rows = index[chunk, :used]
        is_one = rows >= 0
        count = is_one.sum(1).clamp(min=1)
        places = (gather(xyz, rows).double() - queries[chunk, None].double()) * is_one[..., None]  # (m, s, 3)
        mean = places.sum(1) / count[:, None]
        first, second = zip(*((one, other) for one in range(3) for other in range(one, 3)), strict=True)
        products = (places[..., first] * places[..., second]).sum(1) / count[:, None]
        lowest = torch.where(is_one, places[..., 2], torch.inf).amin(1)
        parts = [mean, products - mean[:, first] * mean[:, second], torch.where(is_one.any(1), lowest, 0)[:, None]]
        out[:, chunk] = torch.cat(parts, 1).T
    return out


def gather(table: Tensor, index: Tensor) -> Tensor:
    """Rows of table (n, c) at index (…), zeros at -1."""
    return torch.cat([table, table.new_zeros(1, table.shape[1])])[index.long()]  # -1 is the row of zeros


def subtract(a: Tensor, b: Tensor, index: Tensor) -> Tensor:
    """a (n, c) minus rows of b (n', c) at index (n, s): (n, s, c)."""
    return a[:, None] - gather(b, index)


def aggregate(table: Tensor, position: Tensor, weight: Tensor, index: Tensor) -> Tensor:
    """See pointops.aggregation."""
    channels, width = table.shape[1], weight.shape[2]
    repeated = weight[..., torch.arange(channels, device=weight.device) % width]  # (n, s, c)
    return ((gather(table, index) + position) * repeated * (index >= 0)[..., None]).sum(1)


def row_sum(table: Tensor, source: Tensor, weight: Tensor) -> Tensor:
    """Sum over s of table[source[n, s]] * weight[n, s]: (n, c)."""
    return (gather(table, source) * weight[..., None]).sum(1)


def edge_dot(a: Tensor, b: Tensor, index_a: Tensor, index_b: Tensor, weight: Tensor | None) -> Tensor:
    """Sum over c of a[index_a[m], g, c] * b[index_b[m], g, c] * weight[c]: (m, g)."""
    products = gather(a.flatten(1), index_a) * gather(b.flatten(1), index_b)
    products = products.view(len(index_a), *a.shape[1:])  # (m, g, c)
    return (products if weight is None else products * weight).sum(-1)


def group_sum(weight: Tensor, value: Tensor, target: Tensor, source: Tensor) -> Tensor:
    """(n, g, c): row t is the sum of weight[m, g] * value[source[m], g] over the edges m with target[m] = t."""
    terms = weight[..., None] * gather(value.flatten(1), source).view(len(source), *value.shape[1:])
    present = target >= 0
    return torch.zeros_like(value).index_add(0, target[present].long(), terms[present])


def _nothing_found(queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
    index = torch.full((len(queries), k), -1, dtype=torch.int32, device=queries.device)
    return index, torch.full((len(queries), k), MISSING_DISTANCE2, device=queries.device)


def _segments(offset: Tensor) -> list[tuple[int, int]]:
    ends = offset.tolist()
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _distance2(queries: Tensor, points: Tensor) -> Tensor:
    """(q, p) squared distances, summed in the order x, y, z; infinite if a coordinate is not finite."""
    x, y, z = ((queries[:, axis, None] - points[None, :, axis]).square() for axis in range(3))
    return (x + y + z).nan_to_num(nan=torch.inf, posinf=torch.inf)


def _blocks(xyz: Tensor, offset: Tensor, queries: Tensor, query_offset: Tensor) -> Iterator[tuple[slice, int, Tensor]]:
    """(rows of queries, first point of their cloud, their squared distances to its points), CHUNK distances at most."""
    for (begin, end), (first, last) in zip(_segments(offset), _segments(query_offset), strict=True):
        if begin == end or first == last:
            continue
        step = max(1, CHUNK // (end - begin))
        for start in range(first, last, step):
            rows = slice(start, min(start + step, last))
            yield rows, begin, _distance2(queries[rows], xyz[begin:end])
