"""Chooses the precision of a network by the settings and its device."""

from app.errors import BadModel
from app.networks.precision import PRECISIONS
from app.settings import ModelSettings, value_for


def precision_for(name: str, supports_half_precision: bool, device: str, settings: ModelSettings) -> str:
    """The precision of model ``name`` on ``device``: a key of PRECISIONS.

    Raises BadModel if the settings want one that cannot be had.
    """
    wanted = value_for(settings.precision, name)
    on_gpu = device.startswith("cuda")
    if wanted == "auto":
        return "fp16" if on_gpu and supports_half_precision else "fp32"
    if PRECISIONS[wanted].dtype.itemsize < 4 and not supports_half_precision:
        raise BadModel(f"precision={wanted}: this network runs in float32 alone; set {name}=fp32 or {name}=auto")
    if wanted == "fp16" and not on_gpu:
        raise BadModel("precision=fp16 needs a GPU; accepted on a processor are auto, fp32, upstream and bf16")
    return wanted
