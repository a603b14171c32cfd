"""The segmenter: a label for every point of a cloud, in the mode and with the fields of a request."""

import copy
from collections.abc import Callable
from dataclasses import replace

from app.clouds.cloud import Cloud, Segmentation
from app.clouds.fields import CLASSES, FEATURES, FIELDS, INSTANCES, LOGITS, VOTES, made_from
from app.errors import BadRequest
from app.networks.registry import types_with
from app.options import OF_MODEL, Mode, Options
from app.refine.check import check, check_cloud
from app.settings import MAX_PASSES

from . import exact, instance_tester, prepare, vote
from .batch import SegmentationRequest, segment_batch
from .pipeline import Pipeline
from .predictions import Predictions
from .prepare import TransformedCloud
from .projection import Projection
from .run_context import RunContext, ignore_passes, never_cancelled


class Segmenter(Pipeline):
    """A pipeline that answers requests: with the options of each, in every mode.

    Attributes:
        shares_passes: whether clouds may go through it together, in a mode of a single pass.
    """

    shares_passes = True

    def for_options(self, options: Options) -> "Segmenter":
        """The segmenter that answers with ``options``: this one, or its twin for another condition.

        This is the one place for what depends on the model. Raises BadRequest if the model has no such condition, does
        not give a field, or not in this mode.
        """
        segmenter = self._for_condition(options.condition)
        segmenter._check(options)
        return segmenter

    def _for_condition(self, condition: str) -> "Segmenter":
        """This network, answering for another of the datasets that it has a head for; '' for the config's own."""
        if condition in ("", self.procedure.condition):
            return self
        classes = self.procedure.conditions.get(condition)
        if classes is None:
            known = ", ".join(self.procedure.conditions)
            takes = f"known are {known}" if known else "it was trained for one dataset and takes none"
            raise BadRequest(f"model {self.procedure.name} knows no condition {condition!r}; {takes}")
        twin = copy.copy(self)
        twin.procedure = replace(self.procedure, condition=condition, classes=classes)
        twin.inference = self.inference.for_condition(condition, len(classes))
        return twin

    def segment(
        self,
        cloud: Cloud,
        options: Options = Options(),
        check_cancelled: Callable[[], None] = never_cancelled,
        on_passes: Callable[[float, int], None] = ignore_passes,
    ) -> Segmentation:
        """Labels, and the fields that ``options`` ask for, for every point of ``cloud`` but its context, in its order.

        ``Mode.FAST`` is one pass: no view, no random thinning; each voxel is represented by its first point, and its
        points share its label. ``Mode.EXACT`` is upstream's tester, in at most ``max_passes`` passes, or in one if the
        network finds instances; ``Mode.VOTE`` averages such a pass over each of the first ``max_passes`` views of
        ``vote``. ``seed`` feeds what they draw. What ``check_cancelled`` raises before a pass ends the call;
        ``on_passes`` is called with the passes made and wanted. Raises BadRequest as ``for_options``.
        """
        segmenter = self.for_options(options)
        if not (options.mode.is_single_pass and segmenter.shares_passes):
            warnings = [*cloud.warnings, *segmenter.warnings, *options.without_effect]
            run = RunContext(warnings, check_cancelled, on_passes, segmenter.inference.device)
            check_cloud(options, cloud)
            predictions, projection = segmenter.predicted(cloud, options, run)
            return segmenter.answer(predictions, projection, cloud, options, run)
        (outcome,) = segment_batch(segmenter, [SegmentationRequest(cloud, options, check_cancelled)], self.tile_voxels)
        if isinstance(outcome.result, Exception):
            raise outcome.result
        return outcome.result

    def _check(self, options: Options) -> None:
        """Raise BadRequest for fields that this network does not give in the mode asked for, and steps that its classes
        do not bear."""
        check(options, self.procedure.classes, self.procedure.ignore_label, self.procedure.name)
        if options.vegetation_heights == OF_MODEL and not self.procedure.vegetation_heights_m:
            raise BadRequest(
                f"model {self.procedure.name} states no heights of vegetation (data.vegetation_heights of its config): "
                "say them in metres, such as vegetation_heights=0.5,2"
            )
        mode = options.mode
        of_instances, of_features = (made_from(source, options.fields) for source in (INSTANCES, FEATURES))
        of_classes = [name for source in (CLASSES, LOGITS, VOTES) for name in made_from(source, options.fields)]
        if of_instances and not self.inference.finds_instances:
            raise BadRequest(
                f"model {self.procedure.name} finds no instances; models of type "
                f"{' and '.join(types_with('finds_instances'))} do: leave "
                f"{', '.join(of_instances)} out of fields"
            )
        if of_features and not self.inference.gives_features:
            raise BadRequest(
                f"model {self.procedure.name} gives no features; encoders and models with a head of their own do: "
                f"leave {' and '.join(of_features)} out of fields"
            )
        if of_features and of_instances:
            raise BadRequest("instances and features are found in passes of their own: ask for one or the other")
        if not mode.is_single_pass and not self.procedure.classes:
            raise BadRequest(f"model {self.procedure.name} knows no classes to vote on: ask for mode=fast")
        elsewhere = [name for name in options.fields if FIELDS[name].source not in mode.sources]
        if elsewhere:
            modes = _modes_of(elsewhere[0])
            alike = ",".join(name for name in elsewhere if _modes_of(name) == modes)
            raise BadRequest(f"fields={alike} is found in {' and '.join(modes)} only, got mode={mode}")
        if of_classes and not self.procedure.classes:
            raise BadRequest(
                f"model {self.procedure.name} knows no classes: leave {', '.join(sorted(of_classes))} out of fields, "
                "and ask for features"
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """Those of ``FIELDS`` that this network gives, in one mode or another."""
        return tuple(name for name in FIELDS if any(self._gives(name, mode) for mode in Mode))

    def _gives(self, name: str, mode: Mode) -> bool:
        try:
            self._check(Options(fields=(name,), mode=mode))
        except BadRequest:
            return False
        return True

    def predicted(self, cloud: Cloud, options: Options, run: RunContext) -> tuple[Predictions, Projection]:
        """The predictions for a cloud in the mode of ``options``, and the projection from them to all of its points."""
        is_exact = options.mode is Mode.EXACT
        if options.mode.is_single_pass:
            prepared = self.prepare(cloud, options.seed, run)
            if prepared is not None:
                return self.predict(prepared, options, run), prepared.projection
        else:
            device = str(self.inference.device)
            transformed = prepare.apply_transforms(cloud, self.procedure, options.seed, device, run, thin=is_exact)
            if transformed is not None:
                return (self._exact if is_exact else self._vote)(transformed, options, run)
        return Predictions.of_nothing(len(self.procedure.classes)), Projection.of_nothing(len(cloud))

    def _exact(
        self, transformed: TransformedCloud, options: Options, run: RunContext
    ) -> tuple[Predictions, Projection]:
        if self.inference.finds_instances:
            picks = instance_tester.prepare_picks(transformed, self.procedure, run)
            return self.predict(picks, options, run), picks.projection
        max_passes = options.max_passes or MAX_PASSES
        found = exact.sum_probabilities(
            self.inference, transformed.sample, self.procedure, self.tile_voxels, max_passes, run
        )
        return exact.predictions(found), transformed.projection

    def _vote(self, transformed: TransformedCloud, options: Options, run: RunContext) -> tuple[Predictions, Projection]:
        max_passes, with_votes = options.max_passes or MAX_PASSES, bool(made_from(VOTES, options.fields))
        predictions = vote.predict(
            *(self.inference, transformed.sample, self.procedure, self.tile_voxels, max_passes, run),
            with_votes=with_votes,
        )
        return predictions, transformed.projection


def _modes_of(field: str) -> list[str]:
    """The modes that find what ``field`` is made from."""
    return [f"mode={mode}" for mode in Mode if FIELDS[field].source in mode.sources]
