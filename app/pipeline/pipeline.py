"""The steps from a cloud to its answer, with one network on one device: prepare, predict, project."""

from dataclasses import replace

import numpy as np
from torch import Tensor, nn

from app.clouds.cloud import Cloud, RefinedStep, Segmentation, SegmentationMeta
from app.clouds.fields import CLASSES, FEATURES, INSTANCES, LOGITS, Source, made_from
from app.errors import BadModel
from app.options import Options
from app.refine.legend import Legend, codes_of
from app.refine.runner import refine
from app.refine.scene import Scene
from app.refine.steps import wanted

from . import field_values, prepare, single_pass, transforms
from .download import download
from .inference import Inference
from .predictions import Predictions
from .prepare import NetworkInput
from .procedure import InferenceProcedure
from .projection import Projection
from .run_context import RunContext
from .upload import upload


class Pipeline:
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

    def prepare(self, cloud: Cloud, seed: int = 0, run: RunContext | None = None) -> NetworkInput | None:
        """Voxels and features for one pass; None if no point is usable. Raises BadCloud and BadRequest."""
        return prepare.prepare(cloud, self.procedure, seed, str(self.inference.device), run or RunContext([]))

    def logits(self, prepared: NetworkInput) -> Tensor:
        """Logits float32 (V, num_classes) on the device, of all voxels in one pass."""
        run = RunContext([])
        plan = self.inference.plan([(prepared.grid_coord, prepared.coord)], run)
        return self.inference.in_range(lambda inference: inference.logits(prepared.feat, plan, run), run)

    def predict(self, prepared: NetworkInput, options: Options, run: RunContext) -> Predictions:
        """The predictions of one pass, with all that the fields asked for are made from."""
        source, with_energy = source_of(options.fields), bool(made_from(LOGITS, options.fields))
        return single_pass.predict(self.inference, prepared, source, self.tile_voxels, run, with_energy=with_energy)

    def answer(
        self, predictions: Predictions, projection: Projection, cloud: Cloud, options: Options, run: RunContext
    ) -> Segmentation:
        """The answer for the points of ``cloud`` but its context.

        ``projection`` leads from the rows of ``predictions`` to all of its points. ``with_noise`` says what class its
        noise is of; what is not made from classes is that of the point whose row it has.
        """
        scene, steps = None, list[RefinedStep]()
        predictions, of_classes = self.with_noise(predictions, projection)
        if wanted(options):
            with run.stage("refine"):
                scene = self._scene(predictions, of_classes, cloud, options, run)
                steps = refine(scene, options)
                predictions = replace(predictions, best=scene.best, probabilities=scene.probabilities)
        projection, of_classes = (each.first(cloud.num_answered) for each in (projection, of_classes))
        with run.stage("project"):
            meta = SegmentationMeta(
                classes=scene.classes.infos if scene is not None else self.procedure.classes,
                ignore_label=self.procedure.ignore_label,
                passes=predictions.passes,
                passes_wanted=predictions.passes_wanted,
                model=self.procedure.name,
                warnings=run.warnings,
                timings_ms=run.timings_ms,
                units=run.units,
                num_added=len(scene.classes.added) if scene is not None else 0,
                refined=steps,
                given_codes=scene.classes.given_codes if scene is not None else [],
                label_column=options.classification_to,
            )
            ignored = self.procedure.ignore_label
            ids = [info.id for info in self.procedure.classes] or [ignored]
            of_rows = upload(np.array(ids, np.int32), predictions.best.device).index_select(0, predictions.best)
            columns = {"labels": scene.answered.int() if scene is not None else of_classes.project(of_rows, ignored)}
            refined = scene.answered_fields() if scene is not None else {}
            columns |= field_values.of_points(predictions, of_classes, projection, options.fields, refined)
            if not self.procedure.classes and not made_from(FEATURES, options.fields):
                run.warnings.append(f"The model {self.procedure.name} knows no classes: ask for fields=features.")
            fields = download(columns)
            out = Segmentation(fields.pop("labels"), meta, fields)
            if "instances" in options.fields:
                out.fields["instances"], meta.instances = field_values.instance_infos(
                    predictions, out.fields["instances"], ids
                )
        run.settle()
        return out

    def with_noise(self, predictions: Predictions, projection: Projection) -> tuple[Predictions, Projection]:
        """``predictions`` with one more row, for noise, and the projection of what is made from classes, with it.

        Both are unchanged if the model has no such class, or no point is noise.
        """
        column = self.procedure.noise_column
        if column is None or projection.noise is None:
            return predictions, projection
        return predictions.with_certain(column), projection.with_noise_at(len(predictions.best))

    def answer_of_nothing(self, cloud: Cloud, options: Options, run: RunContext) -> Segmentation:
        """The answer for a cloud of points that are all unusable."""
        nothing = Predictions.of_nothing(len(self.procedure.classes))
        return self.answer(nothing, Projection.of_nothing(len(cloud)), cloud, options, run)

    def _scene(
        self, predictions: Predictions, projection: Projection, cloud: Cloud, options: Options, run: RunContext
    ) -> Scene:
        """What steps of refinement work on."""
        classes = self.procedure.classes
        device = projection.rows.device
        return Scene(
            cloud,
            projection.rows,
            predictions.probabilities,
            Legend(classes, codes_of(options.classes, classes)),
            self.procedure.ignore_label,
            [axis.metres for axis in (run.units.axes if run.units else (self.procedure.unit,) * 3)],
            lambda values: upload(values, device),
            run.warnings,
            run.check_cancelled,
            self.procedure.vegetation_heights_m,
        )


def source_of(fields: tuple[str, ...]) -> Source:
    """The source that a pass has to give for ``fields``; CLASSES if logits suffice."""
    return next((source for source in (INSTANCES, FEATURES) if made_from(source, fields)), CLASSES)
