"""``mode=exact`` of networks that find instances: upstream's instance tester.

It has one pass, of one point of each voxel, drawn as in training: a pick. Every point of the cloud gets the predictions
of the nearest pick. The distance is from the point's position when the procedure copied it to the pick's last one.
"""

from dataclasses import replace

from . import prepare
from .neighbours import nearest
from .prepare import NetworkInput, TransformedCloud
from .procedure import InferenceProcedure
from .run_context import RunContext

ORIGIN = "origin_coord"  # what upstream's configs call the copy


def prepare_picks(transformed: TransformedCloud, procedure: InferenceProcedure, run: RunContext) -> NetworkInput:
    """Voxels, each represented by a point that ``transformed.rng`` draws; every usable point gets the nearest one's."""
    with run.stage("voxelize"):
        sample, voxels = transformed.sample, prepare.grid(transformed.sample, procedure)
        picked = voxels.random_points(transformed.rng)
        picks = prepare.network_input(sample, voxels, picked, transformed.projection, procedure)
        is_copied = ORIGIN in sample
        rows = nearest(
            picks.coord if is_copied else sample["coord"].index_select(0, picks.points).float(),
            sample[ORIGIN if is_copied else "coord"].float(),
        )
        return replace(picks, projection=transformed.projection.onto(rows))
