"""Several models of the same classes as one: the mean of their probabilities, point by point."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from app.clouds.cloud import Cloud
from app.clouds.fields import FIELDS, OF_SEVERAL, VOTES, made_from
from app.errors import BadRequest
from app.options import JOINT, Options
from app.refine.legend import check_alike

from .predictions import Predictions
from .projection import Projection
from .run_context import RunContext
from .segmenter import Segmenter


def together(segmenters: Sequence[Segmenter]) -> Segmenter:
    """One segmenter of all ``segmenters``, which are on one device. Raises BadRequest if their classes differ."""
    return segmenters[0] if len(segmenters) == 1 else Ensemble(segmenters)


class Ensemble(Segmenter):
    """Answers with the mean of what its members say of each point, in the mode of the request.

    A point that some members cannot use gets the mean of the others. Ids, colors and the ignore label are those of the
    first member. Members run one after the other, each with voxels and features of its own.
    """

    shares_passes = False

    def __init__(self, members: Sequence[Segmenter]):
        first = members[0]
        check_alike([(member.procedure.name, member.procedure.classes) for member in members])
        self.members = list(members)
        self.inference = first.inference
        self.tile_voxels = max(member.tile_voxels for member in members)
        self.procedure = replace(first.procedure, name=JOINT.join(member.procedure.name for member in members))
        self.warnings = list(dict.fromkeys(warning for member in members for warning in member.warnings))

    def _for_condition(self, condition: str) -> "Ensemble":
        twin = Ensemble([member._for_condition(condition) for member in self.members])
        twin.tile_voxels = self.tile_voxels
        return twin

    def _check(self, options: Options) -> None:
        of_one = [name for name in options.fields if FIELDS[name].source not in OF_SEVERAL]
        if of_one:
            raise BadRequest(
                f"fields={','.join(of_one)} is of one network, and {self.procedure.name} are {len(self.members)}: "
                "ask for one of these models"
            )
        super()._check(options)

    def predicted(self, cloud: Cloud, options: Options, run: RunContext) -> tuple[Predictions, Projection]:
        """The means of the probabilities of the points that any member can use, and the projection from these."""
        device = self.inference.device
        sums = torch.zeros((len(cloud), len(self.procedure.classes)), device=device)
        counts = sums.new_zeros((len(cloud), 1))
        votes = torch.zeros_like(sums, dtype=torch.int16) if made_from(VOTES, options.fields) else None
        passes = passes_wanted = 0
        for number, member in enumerate(self.members):
            one = RunContext([], run.check_cancelled, _part(run, number, len(self.members)), run.device)
            part = copy.copy(member)
            part.tile_voxels = min(member.tile_voxels, self.tile_voxels)
            found, projection = part.with_noise(*part.predicted(cloud, options, one))
            with one.stage("project"):
                sums += projection.project(found.probabilities, 0).to(device)
                counts += (projection.rows >= 0)[:, None].to(device)
                if votes is not None and found.votes is not None:
                    votes += projection.project(found.votes, 0)
            passes, passes_wanted = passes + found.passes, passes_wanted + found.passes_wanted
            run.warnings += [warning for warning in one.warnings if warning not in run.warnings]
            run.add_stages(one)
            run.units = run.units or one.units
            del found, projection  # their memory is the next member's
        points = counts[:, 0].nonzero().flatten()
        mean = sums.div_(counts.clamp_(min=1)).index_select(0, points)
        return (
            replace(
                Predictions.of_probabilities(mean),
                passes=passes,
                passes_wanted=passes_wanted,
                votes=None if votes is None else votes.index_select(0, points),
            ),
            Projection.of_usable(len(cloud), points),
        )


def _part(run: RunContext, number: int, num_members: int) -> Callable[[float, int], None]:
    """Tells ``run`` of the passes of its member ``number`` as if all members made as many."""
    return lambda passes, wanted: run.on_passes(number * wanted + passes, num_members * wanted)
