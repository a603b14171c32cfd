"""The option ``columns`` of a request: names of all columns in order, or pairs ``meaning:column``."""

from collections.abc import Sequence

from app.clouds.columns import NAMES, SKIP, XYZ, Wanted, canonical
from app.errors import BadRequest


def check_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """The canonical names of a request's ``columns``; BadRequest for an unknown or repeated one or without x, y, z."""
    names = tuple(name if name == SKIP else canonical(name) for name in columns)
    for name in names:
        if name != SKIP and name not in NAMES:
            raise BadRequest(f"columns= names '{name:.60}'; known are {', '.join(NAMES)}, and {SKIP} to skip a column.")
        if name != SKIP and names.count(name) > 1:
            raise BadRequest(f"columns= names '{name}' more than once; use {SKIP} to skip a column.")
    if not set(XYZ) <= set(names):
        raise BadRequest(f"columns= must name x, y and z; it names {', '.join(names) or 'nothing':.200}.")
    return names


def parse_wanted(columns: Sequence[str]) -> Wanted:
    """The option ``columns`` as readers take it: unchanged, or of pairs ``meaning:column`` the column by meaning.

    BadRequest for pairs beside names or without a column, an unknown or repeated meaning, and coordinates that are left
    out.
    """
    if not any(":" in entry for entry in columns):
        return tuple(columns)
    bindings: dict[str, str] = {}
    for entry in columns:
        meaning, colon, name = (part.strip() for part in entry.partition(":"))
        target = canonical(meaning)
        if colon and not name:
            raise BadRequest(
                f"columns= says '{entry:.60}' without a column; name one, as in intensity:amplitude, or {SKIP} to "
                f"leave a channel out, as in intensity:{SKIP}."
            )
        if not colon:
            raise BadRequest(f"columns= says '{entry:.60}' beside pairs such as intensity:amplitude; give pairs only.")
        if target not in NAMES:
            raise BadRequest(f"columns= feeds '{meaning:.60}'; known are {', '.join(NAMES)}.")
        if target in bindings:
            raise BadRequest(f"columns= feeds {target} more than once.")
        if target in XYZ and name == SKIP:
            raise BadRequest(f"columns= leaves {target} out; only channels beside the coordinates can be left out.")
        bindings[target] = name
    return bindings
