"""Safetensors out: what was found for every point as arrays that any program reads without parsing numbers."""

import numpy as np
import orjson

from app.clouds.answer import described
from app.clouds.cloud import FIELDS, Cloud, Segmentation

DTYPES = {"int32": "I32", "float32": "F32", "uint8": "U8"}


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> bytes:
    """``labels`` int32 (N,), in input order, and what was asked for.

    Names, types and shapes are those of ``Segmentation``, but for instances: ``instance_ids`` int32 (N,), -1 for none,
    with ``instance_labels`` and ``instance_scores`` for each. The metadata are strings: ``model``, ``ignore_label``,
    and as JSON ``classes``, ``warnings`` and ``units``. Equal answers are equal byte by byte.
    """
    arrays = {"labels": segmentation.labels.astype(np.int32, copy=False)}
    arrays |= {name: getattr(segmentation, name) for name in FIELDS if name != "instances"}
    if segmentation.instances is not None:
        arrays |= {
            "instance_ids": segmentation.instances.astype(np.int32, copy=False),
            "instance_labels": np.array([info.label for info in segmentation.instance_infos], np.int32),
            "instance_scores": np.array([info.score for info in segmentation.instance_infos], np.float32),
        }
    classes = [
        {"id": each.id, "name": each.name, "color": each.color, "asprs": each.asprs} for each in segmentation.classes
    ]
    warnings = list(dict.fromkeys([*cloud.warnings, *segmentation.warnings]))
    metadata = {
        "model": segmentation.model,
        "ignore_label": str(segmentation.ignore_label),
        "classes": orjson.dumps(classes).decode(),
        "warnings": orjson.dumps(warnings).decode(),
        "units": orjson.dumps(described(segmentation.units)).decode(),
    }
    given = {name: np.ascontiguousarray(array) for name, array in arrays.items() if array is not None}
    return _packed(dict(sorted(given.items(), key=lambda item: -item[1].itemsize)), metadata)


def _packed(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> bytes:
    """``arrays``, the widest numbers first, after a header of a multiple of 8 bytes, so that all are aligned.

    The library's own writer puts the metadata in another order each time.
    """
    header: dict[str, object] = {"__metadata__": metadata}
    offset = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": DTYPES[array.dtype.name],
            "shape": array.shape,
            "data_offsets": (offset, offset + array.nbytes),
        }
        offset += array.nbytes
    text = orjson.dumps(header)
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *(array.data for array in arrays.values())])
