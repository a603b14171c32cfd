"""Connected components: the compiled operator, its reference and SciPy agree."""

import emulation
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components as components_of_graph
from sparseops import ARCHITECTURES, connected_components, reference_components

OPERATORS = [reference_components] + ([torch.ops.sparseops] if ARCHITECTURES else [])


def scattered(rng, num_places, num_rows, num_labels):
    """A table of places beside each other by chance, some of them none, and nodes at these places."""
    neighbours = rng.integers(-num_places, num_places + 2, (num_rows, num_places))
    has_label = rng.random((num_places, num_labels)) < 0.5
    offsets = np.concatenate([[0], has_label.sum(1).cumsum()])
    labels = has_label.nonzero()[1] * 7 - 9
    return neighbours.astype(np.int32), offsets, labels.astype(np.int64)


def by_graph(neighbours, offsets, labels):
    """The lowest node of each component by SciPy, over all pairs of nodes that are beside each other."""
    node_at = {
        (place, labels[node]): node
        for place in range(len(offsets) - 1)
        for node in range(offsets[place], offsets[place + 1])
    }
    pairs = [
        (node, node_at[beside, label])
        for (place, label), node in node_at.items()
        for beside in neighbours[:, place]
        if (beside, label) in node_at
    ]
    one, other = np.array(pairs, int).reshape(-1, 2).T
    size = len(labels)
    _, component = components_of_graph(coo_matrix((np.ones(len(one)), (one, other)), (size, size)), directed=False)
    return np.unique(component, return_index=True)[1][component] if size else component


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60), st.integers(0, 3), st.integers(1, 4), st.sampled_from([1, 3]))
def test_components_are_those_of_the_graph(seed, num_places, num_rows, num_labels, threads):
    given = scattered(np.random.default_rng(seed), num_places, num_rows, num_labels)
    tensors = [torch.from_numpy(each) for each in given]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for operators in OPERATORS:
            np.testing.assert_array_equal(operators.connected_components(*tensors), by_graph(*given))
    finally:
        torch.set_num_threads(before)


def chain(length, rows):
    """Places in a row, joined end to end by the table in no order; with them a place that stands alone."""
    order = torch.randperm(length, generator=torch.Generator().manual_seed(length))
    neighbours = torch.full((rows, length + 1), -1, dtype=torch.int32)
    neighbours[:, order[:-1]] = order[1:].int()
    return neighbours, torch.arange(length + 2), torch.zeros(length + 1, dtype=torch.int64)


@pytest.mark.parametrize("length", [2, 100_000])
def test_many_threads_find_the_end_of_a_long_chain(length):
    for operators in OPERATORS:
        found = operators.connected_components(*chain(length, 2))
        assert found.tolist() == [0] * length + [length]


@pytest.mark.parametrize("offsets", [[0, 2, 1], [1, 1, 2], [0, 1, 3], [0, 1, 1]])
def test_offsets_that_lead_elsewhere_are_told(offsets):
    given = torch.zeros((1, 2), dtype=torch.int32), torch.tensor(offsets), torch.arange(2)
    for operators in [torch.ops.sparseops, reference_components] if ARCHITECTURES else [reference_components]:
        with pytest.raises(ValueError, match=r"offsets must (ascend|begin)"):
            operators.connected_components(*given)
    with pytest.raises(ValueError, match=r"offsets must be contiguous int64 \(3,\), got torch.int64 \(2,\)"):
        connected_components(given[0], torch.tensor([0, 2]), given[2])


@pytest.mark.slow
@pytest.mark.skipif(emulation.MISSING, reason=emulation.REASON)
@pytest.mark.parametrize("backwards", [False, True])
def test_cuda_code_finds_them_and_stays_within_the_nodes(backwards):
    emulation.emulated("sparseops").set_backwards(backwards)
    operator = torch.ops.sparseops_emulated.connected_components
    with emulation.poisoned():
        for seed, (places, rows, labels) in enumerate([(0, 0, 1), (1, 1, 1), (40, 2, 3), (700, 1, 2)]):
            given = scattered(np.random.default_rng(seed), places, rows, labels)
            np.testing.assert_array_equal(operator(*map(torch.from_numpy, given)), by_graph(*given))
        assert operator(*chain(1000, 1)).tolist() == [0] * 1000 + [1000]
        outside = torch.tensor([-5, 2, 10**12]), torch.zeros(2, dtype=torch.int64)
        assert operator(torch.tensor([[1, -1]]).int(), *outside).tolist() == [0, 1]
