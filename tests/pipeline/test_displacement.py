"""``GridSample(return_displacement=True)`` of the voxels: where a point lies in its voxel, as a feature."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from app.pipeline import prepare
from app.pipeline.run_context import RunContext
from tests.pipeline.pipeline_samples import make_procedure, make_terrain


def prepared(**voxelize):
    procedure = make_procedure(feat_keys=("displacement",))
    procedure = replace(procedure, voxelize=procedure.voxelize | {"return_displacement": True} | voxelize)
    cloud = make_terrain()
    cloud.normals[:] = (0.6, 0, 0.8)
    return prepare.prepare(cloud, procedure, 0, "cpu", RunContext([]))


def test_displacement_is_seen_from_the_middle_of_the_voxel():
    found = prepared()
    voxels = found.coord.numpy().astype(np.float64) / 0.5
    expected = voxels - np.floor(voxels) - 0.5
    np.testing.assert_allclose(found.feat, expected, atol=1e-5)
    assert found.feat.dtype == torch.float32
    assert np.ptp(found.feat.numpy(), axis=0).min() > 0.9


def test_it_can_be_projected_onto_the_normal():
    expected = prepared().feat.numpy() @ [[0.6], [0], [0.8]]
    np.testing.assert_allclose(prepared(project_displacement=True).feat, expected, atol=1e-6)


@pytest.mark.parametrize("grid_size", [0.5, (0.5, 1.0, 2.0)])
def test_it_is_in_units_of_a_voxel(grid_size):
    assert prepared(grid_size=grid_size).feat.abs().max() <= 0.5 + 1e-5
