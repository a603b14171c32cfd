"""Ball query and clustering of up to 300,000 points on the processor."""

import pointgroup_ops
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from large_clouds import LARGE, LATTICE, WHOLE, by_any_threads, few_examples, pairs_within, points_of
from point_scenes import assert_same
from pointgroup_ops import ballquery_batch_p, bfs_cluster, reference

pytestmark = pytest.mark.skipif(not pointgroup_ops.ARCHITECTURES, reason="pointgroup_ops is not compiled here")


def queried(scene, radius):
    """Sizes of the clouds, points, and their neighbours by any number of threads."""
    coords, sizes = points_of(**scene)
    batch_offsets = torch.tensor([0, *sizes]).cumsum(0).int()
    batch_idxs = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).int()
    return sizes, coords, by_any_threads(lambda: ballquery_batch_p(coords, batch_idxs, batch_offsets, radius))


@few_examples
@example(scene=WHOLE, radius=1.5)
@example(scene=LATTICE, radius=2.0)
@given(scene=LARGE, radius=st.sampled_from([0.5, 1.0, 1.5]))
def test_every_neighbour_is_found(scene, radius):
    sizes, coords, (idx, start_len) = queried(scene, radius)
    query, point, _ = pairs_within(coords, sizes, radius)
    length = query.bincount(minlength=len(coords))
    place = torch.arange(len(query)) - (length.cumsum(0) - length)[query]
    length = length.clamp(max=reference.MAX_NEIGHBOURS)
    assert torch.equal(idx.long(), point[place < reference.MAX_NEIGHBOURS])
    assert torch.equal(start_len.long(), torch.stack([length.cumsum(0) - length, length], 1))


@few_examples
@example(scene=WHOLE, classes=2, threshold=3)
@given(scene=LARGE, classes=st.integers(1, 4), threshold=st.sampled_from([1, 3, 50]))
def test_clusters_are_those_of_the_reference(scene, classes, threshold):
    _, coords, neighbours = queried(scene, 1.0)
    labels = torch.randint(classes, (len(coords),), generator=torch.Generator().manual_seed(0)).int()
    expected = reference.bfs_cluster(labels, *neighbours, threshold)
    assert_same(bfs_cluster(labels, *neighbours, threshold), expected)
