"""Warnings of classes in the file that the answer overwrites, because the model does not know them."""

import numpy as np

from app.clouds import asprs, occurrences
from app.clouds.catalog import WRITERS
from app.clouds.cloud import Cloud, Segmentation, SegmentationMeta
from app.clouds.reference import COLUMNS

MAX_LISTED = 8
UNLABELLED = {asprs.NEVER_CLASSIFIED, asprs.UNCLASSIFIED}
OVERWRITTEN, REPLACED = "were overwritten", "got another"
REASON = "the model gives no such class."


def of_classification(codes: np.ndarray, meta: SegmentationMeta, loss: str = OVERWRITTEN) -> list[str]:
    """A warning that counts the points of a LAS classification (N,), without those that keep it, whose code neither
    the model nor a step of refinement gives, if any."""
    known = {*meta.given_codes, *(info.asprs for info in meta.known_classes if info.asprs is not None)}
    counts = _counts(codes, known | UNLABELLED)
    return _told([(f"class {code} ({asprs.name_of(code)})", count) for code, count in counts], loss)


def of_cloud(output: str, cloud: Cloud, segmentation: Segmentation) -> list[str]:
    """As ``of_column``, for the first column of ``cloud`` that states classes, in the format ``output``.

    Nothing of formats that keep the columns of a cloud: their writers say what they overwrite.
    """
    writer = WRITERS[output]
    name = next((name for name in COLUMNS if name in cloud.extra), "")
    if writer.keeps_columns or not name:
        return []
    return of_column(name, cloud, segmentation, OVERWRITTEN if writer.names_labels else REPLACED)


def of_column(name: str, cloud: Cloud, segmentation: Segmentation, loss: str = OVERWRITTEN) -> list[str]:
    """As ``of_classification``, for the column ``name`` of ``cloud``: of ASPRS codes if it is called classification,
    else of class ids."""
    classes = segmentation.meta.classes
    if not classes:
        return []
    if name == "classification":
        if all(info.asprs is None for info in segmentation.meta.known_classes):
            return []
        codes = cloud.extra[name]
        if segmentation.meta.refined:
            codes = codes[codes != asprs.codes_of(segmentation.labels, classes)]
        return of_classification(codes, segmentation.meta, loss)
    known = {info.id for info in classes} | {segmentation.meta.ignore_label, -1}
    return _told([(f"{name} {code}", count) for code, count in _counts(cloud.extra[name], known)], loss)


def _counts(values: np.ndarray, known: set[int]) -> list[tuple[int, int]]:
    """Whole numbers among ``values`` that are not ``known`` and how many there are of each, the most first."""
    found, counts = occurrences.of(values)
    whole = np.isfinite(found) & (found == np.floor(found))
    pairs = zip(found[whole].tolist(), counts[whole].tolist(), strict=True)
    return sorted(((int(code), count) for code, count in pairs if code not in known), key=lambda pair: -pair[1])


def _told(counts: list[tuple[str, int]], loss: str) -> list[str]:
    if not counts:
        return []
    listed = [f"{count:,} point{'s' if count > 1 else ''} of {name}" for name, count in counts[:MAX_LISTED]]
    rest = counts[MAX_LISTED:]
    if rest:
        listed.append(f"{sum(count for _, count in rest):,} points of {len(rest):,} others")
    return [f"{', '.join(listed)} {loss}: {REASON}"]


def apart(warning: str) -> list[str]:
    """A warning that was made here as one for each class; any other as it is."""
    for loss in (OVERWRITTEN, REPLACED):
        listed = warning.removesuffix(f" {loss}: {REASON}")
        if listed != warning:
            return [f"{each} {loss}: {REASON}" for each in listed.split(", ")]
    return [warning]
