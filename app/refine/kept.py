"""``preserve``, ``only``, ``preserve_flags`` and ``within``: points that keep the class that the file states."""

import torch
from torch import Tensor

from app.clouds.area import NONE_WITHIN, parse
from app.clouds.asprs import MAX_CODE, OVERLAP
from app.errors import BadRequest
from app.options import Options

from .scene import Scene
from .within import within


def apply(scene: Scene, options: Options) -> None:
    """Give every point that an option keeps the file's own class, usable or not."""
    codes = scene.file_codes("preserve, only, preserve_flags or within")[: scene.cloud.num_answered]
    is_kept = kept(codes, scene, options)
    found = codes[is_kept]
    own = torch.unique(found)  # waits for the device
    if len(own) and not 0 <= int(own[0]) <= int(own[-1]) <= MAX_CODE:
        raise BadRequest(
            f"The column classification of the file holds {int(own[0])} to {int(own[-1])}; codes that are kept are 0 "
            f"to {MAX_CODE}."
        )
    ids = own.new_tensor([scene.classes.id_kept(code) for code in own.tolist()])
    whole = scene.whole.clone()
    whole[: len(codes)][is_kept] = ids[torch.searchsorted(own, found)]
    scene.whole = whole


def kept(codes: Tensor, scene: Scene, options: Options) -> Tensor:
    """bool (N - context,), the points that keep their class in ``codes`` int64."""
    is_kept = torch.isin(codes, codes.new_tensor(options.preserve))
    if options.only:
        is_kept |= ~torch.isin(codes, codes.new_tensor(options.only))
    for name in options.preserve_flags:
        flags = scene.answered_column(name)
        if flags is not None:
            is_kept |= flags != 0
        elif name == "overlap":  # point formats below 6 have a class for it
            is_kept |= codes == OVERLAP
        else:
            scene.warnings.append(f"preserve_flags={name} changes nothing: no point of the file has this flag.")
    if options.within:
        is_inside = within(scene.answered_xy(), parse(options.within), scene.check_cancelled)
        if len(is_inside) and not is_inside.any():  # waits for the device
            scene.warnings.append(NONE_WITHIN)
        is_kept |= ~is_inside
    return is_kept
