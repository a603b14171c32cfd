"""Grid sampling on a CUDA device against the processor's."""

import pytest
import torch
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from sparseops import grid_sample
from sparseops.reference_grid import HASHES

pytestmark = pytest.mark.gpu


def assert_same(coord: torch.Tensor, sizes: float | tuple[float, ...], hash_type: str) -> None:
    found, expected = grid_sample(coord.cuda(), sizes, hash_type), grid_sample(coord, sizes, hash_type)
    for name, wanted in vars(expected).items():
        got = getattr(found, name)
        assert got.is_cuda
        assert torch.equal(got.cpu(), wanted), name
    for draws in (0, 3):
        assert torch.equal(found.pick(draws).cpu(), expected.pick(draws))


@settings(max_examples=examples(40), deadline=None)
@given(
    seed=st.integers(0, 10**6),
    number=st.integers(0, 3000) | st.sampled_from([300_000]),
    extent=st.tuples(*[st.sampled_from([0.0, 1.0, 50.0, 1e9])] * 3),
    sizes=st.tuples(*[st.sampled_from([0.02, 0.3, 7.0])] * 3),
    hash_type=st.sampled_from(HASHES),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_voxels_are_the_processors(seed, number, extent, sizes, hash_type, dtype):
    generator = torch.Generator().manual_seed(seed)
    coord = (torch.rand(number, 3, generator=generator, dtype=torch.float64) - 0.5) * torch.tensor(extent)
    assert_same(coord.to(dtype), sizes, hash_type)


@pytest.mark.parametrize("hash_type", HASHES)
def test_many_points(hash_type):
    generator = torch.Generator().manual_seed(1)
    assert_same(torch.randn(2_000_000, 3, generator=generator) * 30, 0.05, hash_type)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_coordinates_without_a_voxel_are_refused(value):
    coord = torch.zeros(1000, 3, dtype=torch.float64)
    coord[777, 1] = value
    with pytest.raises(ValueError, match="finite and within"):
        grid_sample(coord.cuda(), 0.1)


def test_another_stream():
    coord = torch.rand(50_000, 3)
    with torch.cuda.stream(torch.cuda.Stream()):
        found = grid_sample(coord.cuda(), 0.05)
        assert torch.equal(found.inverse.cpu(), grid_sample(coord, 0.05).inverse)
