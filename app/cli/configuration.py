"""The settings of a command: its options, else the environment."""

import difflib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer

from app.errors import BadRequest
from app.validation import explain

from .terminal import warn

if TYPE_CHECKING:
    from app.settings import Settings

PREFIX = "POINTSERVE_"
OF_COMMANDS = {"KEY"}  # read by a command, and no setting
SERVICE_LINK = re.compile(r"\w*?(_?SERVICE_(HOST|PORT)|_?PORT_\d+_(TCP|UDP|SCTP))")  # Kubernetes sets them


def configure(**options: Any) -> "Settings":
    """The settings of a command: its options, unless they are None, else the environment, else the defaults.

    Names in the environment that look like a setting and are none are warned of.

    Raises:
        BadRequest: a value that a setting does not accept; says which and what is accepted, and never the value.
        typer.BadParameter: the same of an option.
    """
    from pydantic import ValidationError

    from app.settings import Settings

    for warning in unknown(os.environ):
        warn(warning)
    given = {name: value for name, value in options.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        wrong = {str(each["loc"][0]): explain(each) for each in error.errors()}
        for name in given.keys() & wrong.keys():
            raise typer.BadParameter(f"{wrong[name]}.", param_hint=option_of(name)) from None
        problems = "; ".join(f"{PREFIX}{name.upper()}: {words}" for name, words in wrong.items())
        raise BadRequest(f"{problems}. docs/operations.md lists all settings.") from None


def option_of(setting: str) -> str:
    """What the option for ``setting`` is called on the command line."""
    return f"--{setting.replace('_', '-')}"


def refuse_with_url(settings: Collection[str]) -> None:
    """Raise typer.BadParameter if options of ``settings`` were given, which say how to compute here."""
    if settings:
        names = ", ".join(map(option_of, settings))
        raise typer.BadParameter(f"the server of --url computes as it is set: leave {names} out.")


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
