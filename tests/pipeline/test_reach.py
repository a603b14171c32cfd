from dataclasses import replace

import numpy as np
import pytest

from app.clouds.units import length
from app.pipeline import transforms
from app.pipeline.reach import halo_m
from tests.pipeline.pipeline_samples import make_procedure, make_terrain, tensors

LOWEST = {"type": "HeightAboveLowest", "cell_m": 2.0, "radii_m": (10.0, 4.0), "scale_m": 1.0, "clip_m": 500.0}
OPENING = {"type": "HeightAboveOpening", "cell_m": 1.5, "radii_m": (3.0, 9.0), "pit_m": 3.0}
SUPPORT = {"type": "Support", "cell_m": (5.0, 0.5)}
DROP = {
    "type": "DropNoiseBelow",
    "support_cell_m": (5.0, 0.5),
    "least_support": 0.7,
    "cell_m": 1.5,
    "radius_m": 8.0,
    "depth_m": 1.0,
}


def test_the_halo_of_tiles_and_the_widest_look_of_a_transform_are_added():
    assert halo_m(make_procedure(grid_size=0.25)) == 16
    assert halo_m(make_procedure(grid_size=(0.1, 0.2, 0.3))) == pytest.approx(19.2)
    assert halo_m(make_procedure(transform=[LOWEST, OPENING])) == 32 + 22.5
    assert halo_m(make_procedure(transform=[SUPPORT])) == 32 + 10
    assert halo_m(make_procedure(transform=[SUPPORT, LOWEST, OPENING])) == 32 + 10 + 22.5
    assert halo_m(make_procedure(transform=[DROP])) == halo_m(make_procedure(transform=[DROP, LOWEST])) == 32 + 21
    assert halo_m(replace(make_procedure(transform=[LOWEST]), unit=length(0.3048))) == pytest.approx(46 * 0.3048)


@pytest.mark.parametrize("before", [[], [SUPPORT]])
@pytest.mark.parametrize("transform", [LOWEST, OPENING])
def test_no_height_depends_on_what_lies_beyond_the_reach(transform, before):
    coord = make_terrain(6000, 80).xyz.astype(np.float32)
    coord[0] = 40, 40, 5
    distance = np.abs(coord[:, :2] - coord[0, :2]).max(1)
    steps = [*before, transform | ({"least_support": 0.7} if before else {})]
    reach = halo_m(make_procedure(transform=steps)) - 32

    def height(shift_m, beyond):
        moved = coord - np.where(distance > beyond, shift_m, 0)[:, None] * np.float32([0, 0, 1])
        frame = coord[:1].repeat(8, 0) - 40
        sample = transforms.apply(steps, tensors({"coord": moved, "frame": frame}))
        return sample["height" if transform is LOWEST else "relief"][0].numpy()

    np.testing.assert_array_equal(height(100, reach), height(0, reach))
    assert (height(100, reach - (18 if before else 8)) != height(0, reach)).any()
