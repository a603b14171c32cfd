"""Steps that refine labels do on a CUDA device what they do on the processor."""

import json

import numpy as np
import pytest
import torch

pytest.importorskip("pydantic", reason="needs the wheels of make gpu-wheels")

from app.clouds.area import parse
from app.refine.ground_height import height_above
from app.refine.noise import find_noise
from app.refine.sieve import sieved
from app.refine.smooth import smoothed
from app.refine.within import within
from app.sample.tile import ORIGIN_M, make_tile

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def tile():
    """Points and codes of a made-up tile."""
    made = make_tile("village", size_m=80)
    codes = made.extra["classification"].astype(np.int64)
    codes[:: len(codes) // 500] = 6
    return torch.from_numpy((made.xyz - ORIGIN_M).astype(np.float32)), torch.from_numpy(codes)


def test_sieve_and_noise_are_the_same(tile):
    xyz, codes = tile
    once = sieved(xyz.cuda(), codes.cuda(), 20, 2.0)
    assert torch.equal(once.cpu(), sieved(xyz, codes, 20, 2.0))
    assert torch.equal(sieved(xyz.cuda(), codes.cuda(), 20, 2.0), once)
    assert not torch.equal(once.cpu(), codes)
    for there, here in zip(find_noise(xyz.cuda()), find_noise(xyz), strict=True):
        assert torch.equal(there.cpu(), here)
        assert here.any()


def test_means_and_heights_are_the_same_but_for_rounding(tile):
    xyz, codes = tile
    shares = torch.nn.functional.one_hot(codes, 19).float()
    colors = (codes[:, None] * torch.tensor([3, 7, 11])).to(torch.uint8)
    for neighbours, radius_m in ((8, torch.inf), (64, 0.5), (64, 2.0)):
        there = smoothed(shares.cuda(), xyz.cuda(), neighbours, radius_m, colors.cuda())
        torch.testing.assert_close(there.cpu(), smoothed(shares, xyz, neighbours, radius_m, colors), rtol=0, atol=1e-4)
    heights = height_above(xyz.cuda(), (codes == 2).cuda())
    torch.testing.assert_close(heights.cpu(), height_above(xyz, codes == 2), rtol=0, atol=2e-3)
    assert torch.equal(height_above(xyz.cuda(), (codes == 2).cuda()), heights)


def test_an_area_holds_the_same_points(tile):
    xy = tile[0][:, :2].double()
    low, middle, high = (xy.quantile(share, 0).tolist() for share in (0.2, 0.5, 0.9))
    ring = [low, [high[0], low[1]], middle, [middle[0], high[1]], low]
    area = parse(
        json.dumps({"type": "MultiPolygon", "coordinates": [[ring], [[middle, high, [low[0], high[1]], middle]]]})
    )
    inside = within(xy, area)
    assert 0 < int(inside.sum()) < len(xy)
    assert torch.equal(within(xy.cuda(), area).cpu(), inside)
