"""Settings from the environment with the options of a command on top."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from app.errors import BadRequest
from app.validation import explain

from .terminal import warn

if TYPE_CHECKING:
    from app.settings import Settings

PREFIX = "POINTSERVE_"
OF_COMMANDS = {"KEY"}  # read by a command, and no setting
SERVICE_LINK = re.compile(r"\w*?(_?SERVICE_(HOST|PORT)|_?PORT_\d+_(TCP|UDP|SCTP))")  # Kubernetes sets them


def configure(**options: Any) -> "Settings":
    """The settings of this process; options that are None leave what the environment says.

    They are put into the environment, where processes that this one starts read them. Names there that look like a
    setting and are none are warned of.

    Raises:
        BadRequest: a value that a setting does not accept; says which and what is accepted, and never the value.
    """
    from pydantic import ValidationError

    from app.settings import settings

    os.environ.update({f"{PREFIX}{name.upper()}": str(value) for name, value in options.items() if value is not None})
    settings.cache_clear()
    for warning in unknown(os.environ):
        warn(warning)
    try:
        return settings()
    except ValidationError as error:
        wrong = [f"{PREFIX}{str(each['loc'][0]).upper()}: {explain(each)}" for each in error.errors()]
        raise BadRequest(f"{'; '.join(wrong)}. docs/operations.md lists all settings.") from None


def unknown(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence for every name of ``environment`` that begins as settings do and is none."""
    from app.settings import Settings

    known = {name.upper() for name in Settings.model_fields} | OF_COMMANDS
    for variable in environment:
        name = variable.upper().removeprefix(PREFIX)
        if name == variable.upper() or name in known or SERVICE_LINK.match(name):
            continue
        nearest = difflib.get_close_matches(name, known, 1)
        meant = f"did you mean {PREFIX}{nearest[0]}?" if nearest else "docs/operations.md lists all settings."
        yield f"{variable} is no setting and is ignored; {meant}"
