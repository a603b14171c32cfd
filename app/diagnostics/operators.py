"""Child process: compares the operators of one library, on every device, with an independent reference."""

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

from .attempt import answer, reason_of

TOLERANCE = 1e-4

Check = tuple[str, float]


def check_library(name: str) -> dict[str, Any]:
    """Whether ``name`` is compiled (and for what) or runs its reference, and how far its operators are off.

    ``unloaded`` says why the compiled extension is not there; '' if it is.
    """
    library = importlib.import_module(name)
    architectures = list(getattr(library, "ARCHITECTURES", ()))
    checks = [_run(device, CHECKS[name]) for device in devices()]
    return {
        "name": name,
        "state": "compiled" if architectures else "reference",
        "architectures": architectures,
        "unloaded": _unloaded(f"{name}._compiled"),
        "checks": [check for group in checks for check in group],
    }


def devices() -> list[str]:
    """The processor and every CUDA device."""
    import torch

    return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count() * torch.cuda.is_available()))]


def _unloaded(extension: str) -> str:
    try:
        importlib.import_module(extension)
    except ImportError as error:
        return str(error)
    return ""


def sparseops_checks(device: str) -> Iterator[Check]:
    """What networks need of sparseops, on small clouds on ``device``."""
    yield from _grid_checks(device)
    yield from _convolution_checks(device)
    yield from _serialization_checks(device)


def _grid_checks(device: str) -> Iterator[Check]:
    """Points in the middle of the cells of a cube, each cell twice: which two points each voxel holds."""
    import sparseops
    import torch

    cells = torch.cartesian_prod(*[torch.arange(5)] * 3)
    points = (torch.cat([cells, cells]) + 0.5) * 0.1
    found = sparseops.grid_sample(points.to(device), 0.1, "ravel")
    expected = torch.arange(len(cells))
    pairs = torch.stack([found.pick(0).cpu(), found.pick(1).cpu() - len(cells)])
    yield "grid sampling", float((pairs != expected).sum())


def _convolution_checks(device: str) -> Iterator[Check]:
    """Against torch's dense convolution on the processor."""
    import sparseops
    import torch
    from torch.nn import functional

    generator = torch.Generator().manual_seed(0)
    side, width = 8, 4
    occupied = torch.rand(side, side, side, generator=generator) < 0.3
    voxels = occupied.nonzero()  # (V, 3)
    coords = torch.cat([torch.zeros(len(voxels), 1, dtype=torch.long), voxels], 1).to(device)
    features = torch.randn(len(voxels), width, generator=generator)
    dense = torch.zeros(1, width, side, side, side)
    dense[0, :, voxels[:, 0], voxels[:, 1], voxels[:, 2]] = features.t()

    weight = torch.randn(width, 3, 3, 3, width, generator=generator)
    expected = functional.conv3d(dense, weight.permute(0, 4, 1, 2, 3), padding=1)[0]
    found = sparseops.sparse_conv(features.to(device), weight.to(device), sparseops.submanifold_map(coords, 3)).cpu()
    yield "submanifold convolution", _error(found, expected, voxels)

    weight = torch.randn(width, 2, 2, 2, width, generator=generator)
    expected = functional.conv3d(dense, weight.permute(0, 4, 1, 2, 3), stride=2)[0]
    coarse, kernel_map = sparseops.strided_map(coords)
    found = sparseops.sparse_conv(features.to(device), weight.to(device), kernel_map).cpu()
    yield "strided convolution", _error(found, expected, coarse[:, 1:].cpu())


def _serialization_checks(device: str) -> Iterator[Check]:
    """Steps of a curve, each to the next cell; attention in patches against torch's softmax, patch by patch."""
    import sparseops
    import torch

    cells = torch.cartesian_prod(*[torch.arange(8)] * 3)
    order = sparseops.serialize(cells.to(device), depth=3, curves=["hilbert"]).orders[0].cpu()
    yield "serialization", float((cells[order].diff(dim=0).abs().sum(1) != 1).sum())

    # the second patch of the first cloud lacks 10 points: it gets the last ones of the patch before
    padding = sparseops.patch_padding(torch.tensor([40, 60]), 25, device)
    patches = [range(25), [*range(25, 40), *range(15, 25)], range(40, 60)]
    qkv = torch.randn(60, 3, 2, 8, generator=torch.Generator().manual_seed(0))
    found = sparseops.patch_attention(qkv.to(device)[padding.pad], padding.cu_seqlens).cpu()
    expected = torch.cat([_attention(qkv[list(patch)]) for patch in patches])
    yield "patch attention", float((found - expected).abs().max())


def _attention(qkv: Any) -> Any:
    """(L, H * D) of (L, 3, H, D): softmax of the scores by plain products."""
    query, key, value = qkv.permute(1, 2, 0, 3)  # (H, L, D)
    scores = query @ key.transpose(1, 2) / query.shape[2] ** 0.5
    return (scores.softmax(2) @ value).transpose(0, 1).flatten(1)


def pointgroup_ops_checks(device: str) -> Iterator[Check]:
    """Neighbours on ``device`` against all distances, clusters against SciPy's components: how many entries differ."""
    import pointgroup_ops
    import torch
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    generator = torch.Generator().manual_seed(0)
    points = torch.randint(0, 9, (400, 3), generator=generator)
    labels = torch.randint(0, 2, (400,), generator=generator)
    near = (points[:, None] - points).square().sum(2) <= 2
    clouds = torch.zeros(400, dtype=torch.int32), torch.tensor([0, 400], dtype=torch.int32)
    idx, start_len = pointgroup_ops.ballquery_batch_p(
        points.float().to(device), *(part.to(device) for part in clouds), 1.5
    )
    yield "ball query", _count_differing(idx.cpu(), near.nonzero()[:, 1])

    rows, _ = pointgroup_ops.bfs_cluster(labels.int(), idx.cpu(), start_len.cpu(), 1)
    component = torch.empty(400, dtype=torch.long)
    component[rows[:, 1].long()] = rows[:, 0].long()
    expected = connected_components(csr_array((near & (labels[:, None] == labels)).numpy()))[1]
    yield "clustering", _count_differing(component, torch.from_numpy(expected))


def pointops_checks(device: str) -> Iterator[Check]:
    """Neighbours, samples and features of two clouds on ``device`` against all distances between their points."""
    import pointops
    import torch

    generator = torch.Generator().manual_seed(0)
    points, features = torch.rand(500, 3, generator=generator), torch.rand(500, 4, generator=generator)
    xyz, offset = points.to(device), torch.tensor([200, 500], device=device)
    cloud = torch.arange(500) >= 200
    distance = (points[:, None] - points).norm(dim=2)
    distance[cloud[:, None] != cloud] = torch.inf
    nearest, order = distance.topk(8, largest=False)
    idx, found = pointops.knn_query(8, xyz, offset)
    yield "nearest neighbours", float((found.cpu() - nearest).abs().max())

    grouped = pointops.grouping(idx, features.to(device), xyz, with_xyz=True).cpu()
    expected = torch.cat([points[order] - points[:, None], features[order]], 2)
    yield "grouping", float((grouped - expected).abs().max())

    samples = pointops.farthest_point_sampling(xyz, offset, torch.tensor([1, 40], device=device)).cpu().long()[1:]
    gaps = [distance[samples[:count], 200:].amin(0).max() for count in range(1, len(samples))]
    kept = [distance[samples[:count], samples[count]].min() for count in range(1, len(samples))]
    yield "farthest point sampling", float((torch.stack(gaps) - torch.stack(kept)).abs().max())


CHECKS: dict[str, Callable[[str], Iterator[Check]]] = {
    "sparseops": sparseops_checks,
    "pointops": pointops_checks,
    "pointgroup_ops": pointgroup_ops_checks,
}


def _error(found: Any, expected: Any, voxels: Any) -> float:
    """max |difference| between rows (V, C) and the dense (C, X, Y, Z) at ``voxels`` (V, 3)."""
    x, y, z = voxels.unbind(1)
    return float((found - expected[:, x, y, z].t()).abs().max())


def _count_differing(found: Any, expected: Any) -> float:
    """Entries of a vector that differ from those expected; all of them if the lengths do."""
    return float((found != expected).sum()) if len(found) == len(expected) else float(max(len(found), len(expected)))


def _run(device: str, checks: Callable[[str], Iterator[Check]]) -> list[dict[str, Any]]:
    try:
        return [
            {"device": device, "operator": operator, "max_abs_error": error, "ok": error <= TOLERANCE}
            for operator, error in checks(device)
        ]
    except Exception as error:
        return [{"device": device, "operator": "all", "ok": False, "reason": reason_of(error)}]


if __name__ == "__main__":
    answer(check_library, sys.argv[1])
