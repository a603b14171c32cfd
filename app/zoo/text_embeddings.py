"""Adds the text embeddings of class names to checkpoints that were saved without them."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.errors import BadModel

from .stable_file import open_stable

if TYPE_CHECKING:
    from torch import Tensor

FILE = "class_embeddings.npy"
KEY = "class_embeddings"


def add(model: Mapping[str, Any], weights: Mapping[str, "Tensor"], folder: Path) -> dict[str, "Tensor"]:
    """The weights, for a PPT-v1m3 with the text embeddings of ``folder``, float (classes of all datasets, channels).

    Pointcept leaves these out of its checkpoints and computes them at each start. Raises BadModel if they are nowhere.
    """
    if model.get("type") != "PPT-v1m3" or model.get("backbone_mode") or KEY in weights:
        return dict(weights)
    path = folder / FILE
    if not path.is_file():
        raise BadModel(
            f"PPT-v1m3 needs the text embeddings of its class names, which Pointcept leaves out of the checkpoint; put "
            f"them beside config.py as {FILE}, a row for each of class_names in order (docs/models.md says how)"
        )
    try:
        with open_stable(path) as file:
            embeddings = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise BadModel(f"{FILE} cannot be read: accepted is one array as numpy.save writes it, not pickled") from error
    if embeddings.dtype.kind != "f" or embeddings.ndim != 2 or not np.isfinite(embeddings).all():
        raise BadModel(f"{FILE} holds {embeddings.dtype} {embeddings.shape}; accepted are finite floats (classes, C)")
    import torch  # which a process that only fetches files does without

    return {**weights, KEY: torch.from_numpy(embeddings.astype(np.float32))}
