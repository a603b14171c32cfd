"""The answer of one file of a job as the page shows it."""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from app.clouds import catalog
from app.clouds.cloud import Cloud, RefinedStep, Segmentation, SegmentationMeta
from app.clouds.fields import FIELDS, LABELS
from app.engine.answer import EncodedFile
from app.engine.body import Storage
from app.engine.packed import pack_segmentation, unpack_cloud, without
from app.engine.service import Service
from app.errors import BadCloud, UnsupportedFormat
from app.options import Options
from app.survey import classes, files
from app.survey.row import Row
from app.survey.tile import Tile

SHOWN = "view"


def view_of(service: Service, storage: Storage, row: Row, options: Options, model: Mapping[str, Any]) -> EncodedFile:
    """The answer of the tile ``row``, which is done, in the format ``view``; it is the caller's to close.

    ``options`` are those of the job, ``model`` is what the manifest says of it. The labels are those in the file,
    nothing is computed again. Two classes with one ASPRS code cannot be told apart in the classification of a LAS: such
    points get the first of them. ``storage`` is for an answer that is in an object store.

    Raises UnsupportedFormat for an answer in a format that keeps no points, BadCloud if the file does not hold the
    answer any more, and what ``files.open_local``, ``Stages.decode`` and ``Stages.encode`` raise.
    """
    name = PurePosixPath(row.output).name
    format = catalog.written_as(name)
    if format is None or not catalog.WRITERS[format].keeps_columns:
        raise UnsupportedFormat(f"{name} holds no points that could be shown: only LAS, LAZ, PLY and PCD do.")
    own = options if catalog.keeps_source(format, row.tile.format) else replace(options, columns=None)
    with ExitStack() as stack:
        now = files.stat(row.output)
        place = Tile(name, row.output, format, now.num_bytes, now.version)
        body = stack.enter_context(files.open_local(place, storage))
        asked = replace(own, output=format, format=None, filename=name)
        request = stack.enter_context(service.stages.request(asked))
        packed = stack.enter_context(service.stages.decode(body, request, all_columns=True))
        request.memory.segmenting(packed)
        cloud = unpack_cloud(packed)
        meta = SegmentationMeta(
            classes.answered(model, options.classes, row.counts),
            model=model.get("name", ""),
            warnings=[*row.warnings],
            timings_ms=dict(row.timings_ms),
            units=cloud.units,
            refined=[RefinedStep(step, changed) for step, changed in row.refined.items()],
        )
        column, labels = _labels(cloud, meta, options.classification_to, row)
        answer = Segmentation(labels, meta, _fields(cloud, options.fields))
        segmentation = stack.enter_context(pack_segmentation(answer))
        others = stack.enter_context(without(packed, {column}))
        file = service.stages.encode(SHOWN, others, segmentation, request)
        file.reservation = request.memory.kept(file.size, "The answer")
        return file


def _labels(cloud: Cloud, meta: SegmentationMeta, column: str, row: Row) -> tuple[str, np.ndarray]:
    """The column that holds the labels, and these as int32 (N,).

    That is the classification, or ``column`` if one was asked for, or one named as labels are, or near it if the file
    had such a column itself; with ids of classes or with codes. The one with the counts of the manifest is it.
    """
    first = column or "classification"
    names = [first, *(name for name in cloud.extra if LABELS.column_name in name and name != first)]
    id_of = {info.asprs: info.id for info in reversed(meta.classes)}
    by_code: np.ndarray | None = None
    for name in (name for name in names if name in cloud.extra):
        values = cloud.extra[name]
        if not np.isfinite(values).all():
            continue
        found, inverse = np.unique(values, return_inverse=True)
        codes = np.array([id_of.get(int(code), meta.ignore_label) for code in found], LABELS.dtype)
        for ids in (codes, found.astype(LABELS.dtype)):
            labels = ids[inverse.reshape(-1)]
            unique, counts = np.unique(labels, return_counts=True)
            if dict(zip(unique.tolist(), counts.tolist(), strict=True)) == row.counts:
                return name, labels
        if name == first:
            by_code = codes[inverse.reshape(-1)]
    if by_code is None:
        raise BadCloud(f"{PurePosixPath(row.output).name} does not hold the labels that were written into it.")
    return first, by_code


def _fields(cloud: Cloud, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The fields that were asked for, as far as the file has a number a point of them."""
    fields = {}
    for declared in (FIELDS[name] for name in names if FIELDS[name].width is None):
        own = cloud.extra.get(declared.column_name)
        values = cloud.extra.get(f"predicted_{declared.column_name}", own)
        if values is not None:
            fields[declared.name] = values.astype(declared.dtype)
    return fields
