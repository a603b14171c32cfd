"""The answer as safetensors: arrays that any program reads without parsing numbers."""

import numpy as np
import orjson

from app.clouds.answer import all_warnings, described, instance_arrays, refined
from app.clouds.cloud import Cloud, Segmentation
from app.clouds.fields import FIELDS, LABELS
from app.clouds.needs import arrays_needs

DTYPES = {"int32": "I32", "float32": "F32", "uint8": "U8"}


def write(cloud: Cloud, segmentation: Segmentation, source: memoryview | None) -> list[bytes | memoryview]:
    """``labels`` int32 (N,), in input order, and the fields that were asked for, by ``OutputField.array_name``.

    With instances come ``instance_labels`` and ``instance_scores``, a value an instance. The metadata are strings:
    ``model``, ``ignore_label``, and as JSON ``classes``, ``warnings`` and ``units``, and ``refined`` if steps refined
    the labels. Equal answers are equal byte by byte.
    """
    meta = segmentation.meta
    arrays = {LABELS.array_name: segmentation.labels.astype(LABELS.dtype, copy=False)}
    arrays |= {FIELDS[name].array_name: np.ascontiguousarray(values) for name, values in segmentation.fields.items()}
    arrays |= instance_arrays(segmentation)
    classes = [{"id": each.id, "name": each.name, "color": each.color, "asprs": each.asprs} for each in meta.classes]
    metadata = {
        "model": meta.model,
        "ignore_label": str(meta.ignore_label),
        "classes": orjson.dumps(classes).decode(),
        "warnings": orjson.dumps(all_warnings(cloud, meta)).decode(),
        "units": orjson.dumps(described(meta.units)).decode(),
    }
    if meta.refined:
        metadata["refined"] = orjson.dumps(refined(meta)).decode()
    return _packed(dict(sorted(arrays.items(), key=lambda item: -item[1].itemsize)), metadata)


def _packed(arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> list[bytes | memoryview]:
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
    return [len(text).to_bytes(8, "little"), text, *(array.data for array in arrays.values())]


writing_needs = arrays_needs
