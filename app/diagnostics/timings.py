"""Child process: runs and times every operator of one library on every device, on a small cloud.

A result that plain torch gives in one line is compared with it; ``operators`` has the closer checks.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .attempt import answer, reason_of
from .operators import TOLERANCE, devices

NUM_POINTS = 10_000
SIDE_M = 10.0
CHANNELS = 32
NEIGHBOURS = 16
MAX_REPEATS, ENOUGH_S = 9, 0.3


@dataclass(frozen=True)
class Work:
    """An operator on its inputs; ``expected`` computes the same in plain torch."""

    name: str
    run: Callable[[], Any]
    expected: Callable[[], Any] | None = None


@dataclass(frozen=True)
class RandomCloud:
    """Random points (N, 3) in metres in a cube, features (N, C) and the offset of the cloud's end, on one device."""

    xyz: Any
    features: Any
    offset: Any

    @classmethod
    def on(cls, device: str) -> "RandomCloud":
        """A cloud with one seed, so that it is equal on every device."""
        import torch

        generator = torch.Generator().manual_seed(0)
        xyz = SIDE_M * torch.rand(NUM_POINTS, 3, generator=generator)
        features = torch.randn(NUM_POINTS, CHANNELS, generator=generator)
        return cls(xyz.to(device), features.to(device), torch.tensor([NUM_POINTS], device=device))


def sparseops_works(cloud: RandomCloud) -> Iterator[Work]:
    """Voxels of 20 cm: their maps, convolutions, orders, patches."""
    import sparseops
    import torch

    device = cloud.xyz.device
    cells = (cloud.xyz / 0.2).long().unique(dim=0)
    coords = torch.nn.functional.pad(cells, (1, 0))
    features = cloud.features[: len(coords)].contiguous()
    around, (_, below) = sparseops.submanifold_map(coords, 3), sparseops.strided_map(coords)
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(CHANNELS, n, n, n, CHANNELS, generator=generator).to(device) / 30 for n in (3, 2)]
    yield Work("grid_sample", lambda: sparseops.grid_sample(cloud.xyz, 0.2))
    yield Work("sort_voxels", lambda: sparseops.sort_voxels(coords))
    yield Work("submanifold_map", lambda: sparseops.submanifold_map(coords, 3))
    yield Work("strided_map", lambda: sparseops.strided_map(coords))
    yield Work("sparse_conv, submanifold", lambda: sparseops.sparse_conv(features, weights[0], around))
    yield Work("sparse_conv, strided", lambda: sparseops.sparse_conv(features, weights[1], below))

    order = sparseops.serialize(cells)
    yield Work("serialize", lambda: sparseops.serialize(cells))
    yield Work("sort_codes", lambda: sparseops.sort_codes(order.codes), lambda: _sorted(order.codes))
    ends = torch.arange(0, len(cells) + 1, len(cells) // 100, device=device)
    summed = features[: int(ends[-1])].reshape(len(ends) - 1, -1, CHANNELS)
    segments = summed.flatten(0, 1).contiguous()
    yield Work("segment_reduce", lambda: sparseops.segment_reduce(segments, ends, "max"), lambda: summed.amax(1))
    offset = torch.tensor([len(cells)])
    yield Work("patch_padding", lambda: sparseops.patch_padding(offset, 1024, device))
    padding = sparseops.patch_padding(offset, 1024, device)
    qkv = torch.randn(len(padding.pad), 3, 2, CHANNELS, generator=generator).to(device)
    whole = qkv.unflatten(0, (-1, 1024)).permute(2, 0, 3, 1, 4)  # (3, patches, heads, points, channels)
    yield Work(
        "patch_attention",
        lambda: sparseops.patch_attention(qkv, padding.cu_seqlens),
        lambda: torch.nn.functional.scaled_dot_product_attention(*whole).transpose(1, 2).flatten(0, 1).flatten(1),
    )


def pointops_works(cloud: RandomCloud) -> Iterator[Work]:
    """Neighbours, samples, and what is made of the features of neighbours."""
    import pointops
    import torch

    xyz, features, offset = cloud.xyz, cloud.features, cloud.offset
    few = torch.tensor([NUM_POINTS // 16], device=xyz.device)
    idx, distance = pointops.knn_query(NEIGHBOURS, xyz, offset)
    near = idx.long()
    weight = torch.softmax(-distance, 1)
    yield Work("knn_query", lambda: pointops.knn_query(NEIGHBOURS, xyz, offset))
    yield Work("ball_query", lambda: pointops.ball_query(NEIGHBOURS, 0.5, 0.0, xyz, offset))
    yield Work("random_ball_query", lambda: pointops.random_ball_query(NEIGHBOURS, 0.5, 0.0, xyz, offset))
    yield Work("farthest_point_sampling", lambda: pointops.farthest_point_sampling(xyz, offset, few))
    yield Work("grouping", lambda: pointops.grouping(idx, features, xyz), lambda: features[near])
    yield Work(
        "subtraction",
        lambda: pointops.subtraction(features, features, idx),
        lambda: features[:, None] - features[near],
    )
    grouped = features[near]
    yield Work(
        "aggregation",
        lambda: pointops.aggregation(features, grouped, weight[..., None], idx),
        lambda: (2 * grouped * weight[..., None]).sum(1),
    )
    yield Work(
        "interpolation",
        lambda: pointops.interpolation(xyz, xyz, features, offset, offset, 1),
        lambda: features,
    )
    target = torch.arange(NUM_POINTS, device=xyz.device).repeat_interleave(NEIGHBOURS)
    heads, ones = features.unflatten(1, (4, -1)).contiguous(), torch.ones(CHANNELS // 4, device=xyz.device)
    refer = near.flatten()
    yield Work(
        "attention_relation_step",
        lambda: pointops.attention_relation_step(heads, heads, ones, target, refer),
        lambda: (heads[target] * heads[refer]).sum(2),
    )
    shares = weight.flatten()[:, None].expand(-1, 4).contiguous()
    yield Work(
        "attention_fusion_step",
        lambda: pointops.attention_fusion_step(shares, heads, target, refer),
        lambda: (heads[near] * weight[..., None, None]).sum(1),
    )


def pointgroup_ops_works(cloud: RandomCloud) -> Iterator[Work]:
    """Balls on the device, clusters on the processor."""
    import pointgroup_ops
    import torch

    clouds = torch.zeros(NUM_POINTS, dtype=torch.int32), torch.tensor([0, NUM_POINTS], dtype=torch.int32)
    balls = cloud.xyz, *(part.to(cloud.xyz.device) for part in clouds)
    yield Work("ballquery_batch_p", lambda: pointgroup_ops.ballquery_batch_p(*balls, 0.5))
    idx, start_len = (part.cpu() for part in pointgroup_ops.ballquery_batch_p(*balls, 0.5))
    labels = torch.zeros(NUM_POINTS, dtype=torch.int32)
    yield Work("bfs_cluster", lambda: pointgroup_ops.bfs_cluster(labels, idx, start_len, 1))


WORKS: dict[str, Callable[[RandomCloud], Iterator[Work]]] = {
    "sparseops": sparseops_works,
    "pointops": pointops_works,
    "pointgroup_ops": pointgroup_ops_works,
}


def time_library(name: str) -> list[dict[str, Any]]:
    """One entry for every operator of ``name`` on every device."""
    return [entry for device in devices() for entry in _time(device, WORKS[name])]


def _time(device: str, works: Callable[[RandomCloud], Iterator[Work]]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    try:
        for work in works(RandomCloud.on(device)):
            entry = {"device": device, "operator": work.name, "ms": _milliseconds(device, work.run), "ok": True}
            if work.expected:
                error = _error(work.run(), work.expected())
                entry |= {"max_abs_error": error, "ok": error <= TOLERANCE}
            entries.append(entry)
    except Exception as error:
        reason = reason_of(error, entries[-1]["operator"] if entries else "")
        entries.append({"device": device, "operator": "all", "ok": False, "reason": reason})
    return entries


def _milliseconds(device: str, run: Callable[[], Any]) -> float:
    """Median of as many calls as there is time for, without the first."""
    import torch

    def once() -> float:
        began_s = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began_s

    once()
    spent_s: list[float] = []
    while len(spent_s) < MAX_REPEATS and sum(spent_s) < ENOUGH_S:
        spent_s.append(once())
    return round(1e3 * statistics.median(spent_s), 3)


def _error(found: Any, expected: Any) -> float:
    if isinstance(found, tuple):
        return max(_error(one, other) for one, other in zip(found, expected, strict=True))
    return float((found - expected).abs().max())


def _sorted(codes: Any) -> tuple[Any, Any]:
    orders = codes.argsort(stable=True, dim=1)
    return orders, orders.argsort(1)


if __name__ == "__main__":
    answer(time_library, sys.argv[1])
