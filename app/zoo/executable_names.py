"""Refuses files of weights that name functions which run code, unless the setting permitted_names has the names."""

from collections.abc import Iterable
from pathlib import Path

from app.errors import BadModel, some_of
from app.pickles.calls import dangerous
from app.settings import DEFAULTS, ModelSettings

from .incomplete import reading
from .stable_file import open_stable
from .weights_file import open_archive

SHOWN, SHOWN_CHARACTERS = 4, 100


def check_names(names: Iterable[str], settings: ModelSettings) -> None:
    """Raise BadModel if some of ``names``, which a pickle holds, run code, unless the settings permit them."""
    permitted = {name.strip() for name in settings.permitted_names.split(",")}
    refused = [name[:SHOWN_CHARACTERS] for name in dangerous(names) if name not in permitted]
    if refused:
        raise BadModel(
            f"the file names {some_of(refused, SHOWN, SHOWN_CHARACTERS)}, which would run code if a program loaded "
            "it as usual; weights need no such thing. None of it was run. Get the weights from somebody you trust; if "
            f"you know why they are named, POINTSERVE_PERMITTED_NAMES={','.join(refused[:SHOWN])} serves the "
            "weights, and still runs nothing"
        )


def check_file(path: Path, settings: ModelSettings = DEFAULTS) -> None:
    """As ``check_names``, of the names in a file of weights, which are not read; BadModel if it is no such file."""
    if path.suffix == ".safetensors":
        return
    with reading(path), open_stable(path) as file:
        check_names(open_archive(file, path.name).pickled.ignored, settings)


def remark_on(names: Iterable[str]) -> list[str]:
    """A remark on those of ``names`` that run code; none if there are no such names."""
    found = dangerous(names)
    remark = (
        f"The file names {some_of(found, SHOWN, SHOWN_CHARACTERS)}, which would run code elsewhere; "
        "POINTSERVE_PERMITTED_NAMES lets it stand."
    )
    return [remark] if found else []
