"""A cloud in, a label for every point out: the one place where the steps of the pipeline meet."""

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from app.clouds.cloud import Cloud, Segmentation, SegmentationMeta
from app.clouds.fields import CLASSES, FEATURES, FIELDS, INSTANCES, made_from
from app.errors import BadModel, BadRequest
from app.options import MAX_PASSES, Mode, Options

from . import exact, field_values, instance_tester, prepare, single_pass, transforms
from .inference import Inference
from .predictions import Predictions
from .prepare import Prepared
from .procedure import InferenceProcedure
from .run_context import RunContext, ignore_passes, never_cancelled


class Segmenter:
    """A network with the procedure it was trained for, on one device.

    Args:
        network: has ``plan(batch)`` and ``forward(features, plan)`` for float32 (V, C), giving logits
            (V, num_classes); its weights are loaded.
        procedure: transforms, voxels and classes of the model.
        device: a torch device.
        tile_voxels: clouds of more voxels are cut into tiles of about so many.
        precision: fp32, or fp16 or bf16 for a network that ``supports_half_precision``.

    Raises BadModel if a transform of the procedure is not served.
    """

    def __init__(
        self,
        network: nn.Module,
        procedure: InferenceProcedure,
        device: str = "cpu",
        tile_voxels: int = 400_000,
        precision: str = "fp32",
    ):
        for transform in (*procedure.transform, procedure.voxelize, *procedure.post_transform):
            transforms.check(transform)
        if procedure.voxelize["type"] != "GridSample":
            raise BadModel(f"test_cfg.voxelize must be a GridSample, got {procedure.voxelize['type']!r}")
        if not any(transform["type"] == "Collect" for transform in procedure.post_transform):
            raise BadModel("test_cfg.post_transform must end in a Collect, which names the features")
        self.inference = Inference(network, len(procedure.classes), device, procedure.condition, precision)
        self.procedure = procedure
        self.tile_voxels = tile_voxels
        self.warnings = procedure.remarks

    def for_options(self, options: Options) -> "Segmenter":
        """The segmenter that answers with ``options``: this one, or its twin for another condition.

        This is the one place for what depends on the model. Raises BadRequest if the model has no such condition, does
        not give a field, or not in this mode.
        """
        segmenter = self._for_condition(options.condition)
        segmenter._check(options.fields, options.mode)
        return segmenter

    def _for_condition(self, condition: str) -> "Segmenter":
        """The same network, answering for another of the datasets that it has a head for; '' for the config's own."""
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
        """Labels, and the fields that ``options`` ask for, for every point of ``cloud`` in its order.

        ``Mode.FAST`` is one pass: no view, no random thinning; each voxel is represented by its first point, and its
        points share its label. ``Mode.EXACT`` is upstream's tester, in at most ``max_passes`` passes, or in one if the
        network finds instances; ``seed`` feeds what they draw. What ``check_cancelled`` raises before a pass ends the
        call; ``on_passes`` is called with the passes made and wanted. Raises BadRequest as ``for_options``.
        """
        segmenter = self.for_options(options)
        run = RunContext([*cloud.warnings, *segmenter.warnings], check_cancelled, on_passes)
        find = {Mode.FAST: segmenter._fast, Mode.EXACT: segmenter._exact}[options.mode]
        return segmenter.answer(len(cloud), find(cloud, options, run), options.fields, run)

    def _check(self, fields: tuple[str, ...], mode: Mode) -> None:
        """Raise BadRequest for ``fields`` that this network does not give in ``mode``."""
        of_classes, of_instances, of_features = (made_from(source, fields) for source in (CLASSES, INSTANCES, FEATURES))
        if of_instances and not self.inference.finds_instances:
            raise BadRequest(
                f"model {self.procedure.name} finds no instances; models of type PG-v1m1 and PG-v1m2 do: leave "
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
        if not mode.is_single_pass and of_features:
            raise BadRequest(f"{', '.join(of_features)} are found in mode=fast only, got mode={mode}")
        if of_classes and not self.procedure.classes:
            raise BadRequest(
                f"model {self.procedure.name} knows no classes: leave {', '.join(sorted(of_classes))} out of fields, "
                "and ask for features"
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """Those of ``FIELDS`` that this network gives in mode fast."""
        return tuple(name for name in FIELDS if self._gives(name))

    def _gives(self, name: str) -> bool:
        try:
            self._check((name,), Mode.FAST)
        except BadRequest:
            return False
        return True

    def prepare(self, cloud: Cloud, seed: int = 0, run: RunContext | None = None) -> Prepared | None:
        """Voxels and features for one pass; None if no point is usable. Raises BadCloud and BadRequest."""
        return prepare.prepare(cloud, self.procedure, seed, str(self.inference.device), run or RunContext([]))

    def logits(self, prepared: Prepared) -> Tensor:
        """Logits float32 (V, num_classes) on the device, of all voxels in one pass."""
        plan = self.inference.plan([(prepared.grid_coord, prepared.coord)], RunContext([]))
        return self.inference.logits(prepared.feat, plan, RunContext([]))

    def predictions(self, prepared: Prepared, fields: tuple[str, ...], run: RunContext) -> Predictions:
        """What one pass says, with what ``fields`` need of it."""
        if made_from(INSTANCES, fields):
            return single_pass.predictions_with_instances(self.inference, prepared, self.tile_voxels, run)
        if made_from(FEATURES, fields):
            return single_pass.predictions_with_features(self.inference, prepared, self.tile_voxels, run)
        return single_pass.predictions(
            prepared, single_pass.probabilities(self.inference, prepared, self.tile_voxels, run)
        )

    def _fast(self, cloud: Cloud, options: Options, run: RunContext) -> Predictions | None:
        prepared = self.prepare(cloud, options.seed, run)
        return None if prepared is None else self.predictions(prepared, options.fields, run)

    def _exact(self, cloud: Cloud, options: Options, run: RunContext) -> Predictions | None:
        staged = prepare.stage(cloud, self.procedure, options.seed, run, thin=True)
        if staged is None:
            return None
        if self.inference.finds_instances:
            prepared, of_point = instance_tester.prepare_picks(staged, self.procedure, str(self.inference.device), run)
            return replace(self.predictions(prepared, options.fields, run), of_point=of_point)
        max_passes = options.max_passes or MAX_PASSES
        votes = exact.vote(self.inference, staged.sample, self.procedure, self.tile_voxels, max_passes, run)
        return exact.predictions(staged, votes)

    def answer(
        self, num_points: int, predictions: Predictions | None, fields: tuple[str, ...], run: RunContext
    ) -> Segmentation:
        """From predictions, None if no point was usable, to all points of the cloud."""
        with run.stage("project"):
            if predictions is None:
                predictions = Predictions.of_nothing(len(self.procedure.classes))
            meta = SegmentationMeta(
                classes=self.procedure.classes,
                ignore_label=self.procedure.ignore_label,
                passes=predictions.passes,
                passes_wanted=predictions.passes_wanted,
                model=self.procedure.name,
                warnings=run.warnings,
                timings_ms=run.timings_ms,
                units=run.units,
            )
            ids = np.array([info.id for info in self.procedure.classes], np.int32)
            if self.procedure.classes:
                labels = predictions.for_points(ids[predictions.best], num_points, self.procedure.ignore_label)
            else:
                labels = np.full(num_points, self.procedure.ignore_label, np.int32)
            if not self.procedure.classes and not made_from(FEATURES, fields):
                run.warnings.append(f"The model {self.procedure.name} knows no classes: ask for fields=features.")
            out = Segmentation(labels, meta, field_values.of_points(predictions, fields, num_points))
            if "instances" in fields:
                meta.instances = field_values.instance_infos(predictions, out.fields["instances"], ids)
        return out
