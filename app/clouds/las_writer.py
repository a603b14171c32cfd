"""LAS and LAZ with classes: everything of a source file is kept, or a new file is built from a Cloud."""

import io
from collections.abc import Iterable

import numpy as np

from app.clouds import asprs, laz, laz_chunks, overwritten
from app.clouds.asprs import LOW_NOISE, MAX_CODE
from app.clouds.checks import MAX_COORDINATE
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.fields import FIELDS, LABELS, OutputField
from app.clouds.las_dimensions import Column, Descriptors
from app.clouds.las_file import LasFile, append_evlrs, head, parse
from app.clouds.las_new import las_from
from app.clouds.las_records import COPC_HIERARCHY, COPC_INFO, LASZIP, new_vlr
from app.clouds.laz_kept import KeptLayers, kept_layers
from app.clouds.records import column, fits, renamed, widen
from app.errors import UnsupportedFormat

FLAG_BITS = 0xE0  # synthetic, key-point and withheld share a byte with the class below point format 6
CHANNEL_BITS = 0x30
RESERVED_DIMENSIONS = 16  # for what a segmentation adds
IN_DOUBT = "unclassified"  # step after which points may have the ignore label
SHORT = np.dtype("<u2")  # of values in steps
SMALL_IDS = np.dtype("<i2")  # of class ids


def classified(cloud: Cloud, segmentation: Segmentation, source: memoryview | None, *, compressed: bool) -> bytes:
    """A LAS or LAZ file with the labels, of the points of ``source``, or of ``cloud`` if there is no source.

    Header, VLRs, EVLRs and every byte of every point of ``source`` stay as they are, but for the class and for
    dimensions that are added; what only concerns its compression (LASzip's record, COPC's index) is written again or
    left out. ``classification`` takes the ASPRS codes of the classes (ignored points: 1), else the class ids, if all of
    them fit; otherwise it stays and an extra dimension ``label`` holds the ids, or one named ``meta.label_column``, if
    that is set, the codes. The fields that were asked for become
    extra dimensions, those with a ``step`` as uint16 with that scale. An extra dimension that has the name is
    overwritten if its type can hold the values; else the new one is called ``label_2`` and so on.

    What ``las_new.las_from`` had to change of a ``cloud``, points that LAS cannot hold (NaN and inf are written at the
    offset of the file with classification 7, noise), dimensions and classes that were overwritten, and where labels
    went if not into ASPRS codes, is added to ``segmentation.meta.warnings``.

    Raises:
        BadCloud: ``source`` cannot be read, or has no room for another dimension.
        UnsupportedFormat: LAZ of waveforms from several scanner channels, which the compressor would damage.
        ValueError: the number of labels is not the number of points.
    """
    new = None
    if source is None:
        new = las_from(cloud)
        source = memoryview(new.data)
    file = parse(source)
    if len(segmentation.labels) != file.num_points:
        raise ValueError(f"{len(segmentation.labels)} labels for {file.num_points} points")
    descriptors = Descriptors(file)
    kept = _as_many_as_fit(new.columns, descriptors, segmentation.meta.warnings) if new else []
    is_beside = bool(segmentation.meta.label_column)
    classification = None if is_beside else _classification(file, segmentation)
    columns = [] if classification is not None else [_label_column(segmentation)]
    columns += _requested(segmentation)
    layers = kept_layers(file) if compressed else None
    records, names = _with_columns(layers.records() if layers else laz.decode(file), descriptors, kept + columns)
    replaced = [dimension for name in names if (dimension := descriptors.find(name))]
    segmentation.meta.warnings += [f"The file's own dimension {each.name} was overwritten." for each in replaced]
    if classification is not None:
        own = _codes(file, records)
        if segmentation.meta.refined:
            own = own[own != classification]  # the others were kept
        segmentation.meta.warnings += overwritten.of_classification(own, segmentation.meta)
        _classify(file, records, classification)
    elif not is_beside:
        segmentation.meta.warnings.append(
            "The classes do not fit into the classification of this file; their ids are in the dimension "
            f"{names[len(kept)]}."
        )
    if new:
        segmentation.meta.warnings += new.warnings
        segmentation.meta.warnings += renamed("LAS", zip((each.name for each in kept), names, strict=False))
        _mark_lost(new.lost, file, records, segmentation.meta.warnings)
    if layers:
        layers.changed |= {each.start + place for each in replaced for place in range(each.dtype.itemsize)}
    return _assemble(file, descriptors, records, layers, compressed)


def _requested(segmentation: Segmentation) -> list[Column]:
    """What was asked for beside the labels, as far as LAS has a place for it."""
    return [_column(field, name, values) for field, name, values in segmentation.columns("LAS")]


def _column(field: OutputField, name: str, values: np.ndarray) -> Column:
    """The column ``name`` of a field, of the smallest type for it if it is stored in steps."""
    dtype = np.dtype(field.dtype)
    if field.step is not None:
        dtype = SHORT if np.nanmax(values, initial=0) <= np.iinfo(SHORT).max * field.step else np.dtype("<u4")
    return Column(name, values, dtype, field.step, field.text)


def added_bytes(names: Iterable[str]) -> int:
    """What the fields ``names``, and labels whose codes do not fit, add to a record at most.

    Values in steps take two bytes, as they do with up to 700 classes.
    """
    asked = [FIELDS[name] for name in names]
    sizes = [SHORT.itemsize if field.step is not None else np.dtype(field.dtype).itemsize for field in asked]
    counts = [1 if field.width is None else len(field.parts) for field in asked]
    return SMALL_IDS.itemsize + sum(count * size for count, size in zip(counts, sizes, strict=True))


def _as_many_as_fit(columns: list[Column], descriptors: Descriptors, warnings: list[str]) -> list[Column]:
    """The first of ``columns`` that the Extra Bytes record has room for."""
    kept = columns[: descriptors.num_left - RESERVED_DIMENSIONS]
    if len(kept) < len(columns):
        left_out = len(columns) - len(kept)
        warnings.append(f"LAS describes at most {len(kept)} further columns: the last {left_out:,} were left out.")
    return kept


def _with_columns(records: np.ndarray, descriptors: Descriptors, columns: list[Column]) -> tuple[np.ndarray, list[str]]:
    """A writable copy of ``records`` with ``columns`` in existing dimensions or behind; the names they got."""
    names, stores = [], []
    length = records.shape[1]
    for wanted in columns:
        existing = descriptors.find(wanted.name)
        raw = existing.encode(wanted.values) if existing else None
        if existing and raw is not None:
            descriptors.forget_limits(existing)
            stores.append((existing.start, existing.dtype, raw))
            names.append(existing.name)
        else:
            names.append(descriptors.append(wanted.name, wanted.dtype, wanted.scale, wanted.description))
            stores.append((length, wanted.dtype, wanted.raw()))
            length += wanted.dtype.itemsize
    records = widen(records, length - records.shape[1])
    for start, dtype, raw in stores:
        column(records, start, dtype)[:] = raw
    return records, names


def _label_column(segmentation: Segmentation) -> Column:
    """The labels as a dimension: as codes under the name that was asked for if all classes have one, else as ids."""
    codes = _asprs_codes(segmentation) if segmentation.meta.label_column else None
    if codes is not None:
        return Column(segmentation.label_column, codes, np.dtype("|u1"), None, "ASPRS code of the label")
    dtype = SMALL_IDS if fits(segmentation.labels, SMALL_IDS) else np.dtype("<i4")
    return Column(segmentation.label_column, segmentation.labels, dtype, None, LABELS.text)


def _classification(file: LasFile, segmentation: Segmentation) -> np.ndarray | None:
    """What goes into ``classification``, (N,), None if it cannot hold it."""
    largest = 31 if file.point_format < 6 else 255
    codes = {info.id: info.asprs for info in segmentation.meta.classes}
    by_code = _asprs_codes(segmentation, largest)
    if by_code is not None:
        return by_code
    labels = segmentation.labels
    all_ids = np.array([*codes, labels.min(initial=0), labels.max(initial=0)])
    if any(done.step == IN_DOUBT for done in segmentation.meta.refined):  # so that all tiles of a survey are alike
        all_ids = np.append(all_ids, segmentation.meta.ignore_label)
    if any(code is not None for code in codes.values()) or all_ids.min() < 0 or all_ids.max() > largest:
        return None
    segmentation.meta.warnings.append(
        "The classification holds the model's class ids: its classes have no ASPRS codes."
    )
    return labels.astype(np.uint8)


def _asprs_codes(segmentation: Segmentation, largest: int = MAX_CODE) -> np.ndarray | None:
    """The labels as ASPRS codes, uint8 (N,), ignored points as unclassified; None if a class has none up to
    ``largest``."""
    codes = [info.asprs for info in segmentation.meta.classes]
    if not codes or not all(code is not None and 0 <= code <= largest for code in codes):
        return None
    return asprs.codes_of(segmentation.labels, segmentation.meta.classes)


def _codes(file: LasFile, records: np.ndarray) -> np.ndarray:
    """The classification that ``records`` hold, uint8 (N,)."""
    if file.point_format < 6:
        return file.column(records, "raw_classification") & ~np.uint8(FLAG_BITS)
    return file.column(records, "classification")


def _classify(file: LasFile, records: np.ndarray, classes: np.ndarray) -> None:
    if file.point_format < 6:
        packed = file.column(records, "raw_classification")
        packed[:] = (packed & FLAG_BITS) | classes
    else:
        file.column(records, "classification")[:] = classes


def _assemble(
    file: LasFile, descriptors: Descriptors, records: np.ndarray, layers: KeptLayers | None, compressed: bool
) -> bytes:
    vlrs = descriptors.added_to(descriptors.replace_in([vlr for vlr in file.vlrs if vlr.key != COPC_INFO]))
    evlrs = descriptors.replace_in([evlr for evlr in file.evlrs if evlr.key != COPC_HIERARCHY])
    out = io.BytesIO()
    if compressed:
        _check_waveforms(file, records)
        length = records.shape[1]
        laszip_data = layers.laszip(length) if layers else laz_chunks.laszip_of(file.point_format, length)
        laszip = new_vlr(LASZIP, "https://laszip.org", laszip_data)
        had_one = any(record.key == LASZIP for record in vlrs)
        vlrs = [laszip if record.key == LASZIP else record for record in vlrs] + ([] if had_one else [laszip])
        out.write(head(file, vlrs, length, compressed=True))
        if layers:
            layers.encode(out, records)
        else:
            laz.encode(out, laszip_data, records)
    else:
        vlrs = [record for record in vlrs if record.key != LASZIP]
        out.write(head(file, vlrs, records.shape[1], compressed=False))
        out.write(records.data)
    append_evlrs(out, file, evlrs)
    return out.getvalue()


def _check_waveforms(file: LasFile, records: np.ndarray) -> None:
    """lazrs 0.8 mixes up the waveform fields of formats 9 and 10 when scanner channels alternate."""
    if file.point_format >= 9 and len(records):
        channels = file.column(records, "classification_flags") & CHANNEL_BITS
        if (channels != channels[0]).any():
            raise UnsupportedFormat(
                "Points with waveforms of several scanner channels cannot be compressed without damage: use output=las."
            )


def _mark_lost(lost: np.ndarray, file: LasFile, records: np.ndarray, warnings: list[str]) -> None:
    if lost.any():
        file.column(records, "classification")[lost] = LOW_NOISE
        warnings.append(
            f"Points with NaN or infinite coordinates: {np.count_nonzero(lost):,}, or with some beyond "
            f"{MAX_COORDINATE:g}; LAS cannot hold those: they are at the file's offset with classification 7 (noise)."
        )
