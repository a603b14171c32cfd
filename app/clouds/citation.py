"""Units in words, as names and descriptions of coordinate systems have them: "(ftUS)", "_Feet_Intl", "in meters"."""

import re

from app.clouds.units import LENGTHS, Unit, UnitSource, length

US_FOOT = re.compile(r"ft_?us|us[-_ ]?(?:survey[-_ ]?)?f(?:oo|ee)?t|foot_us|survey[-_ ]?f(?:oo|ee)t", re.IGNORECASE)
STATE_PLANE_FEET = re.compile(r"stateplane.*_feet(?!_intl)", re.IGNORECASE)  # Esri's names: US survey feet
FOOT = re.compile(r"(?<![a-z])(?:intl?[-_ ]?)?(?:f(?:oo|ee)t|ft)(?:[-_ ]?int[a-z]*)?(?![a-z])", re.IGNORECASE)
METRE = re.compile(r"(?<![a-z])met(?:re|er)s?(?![a-z])|\(m\)", re.IGNORECASE)
MEANINGS = ((US_FOOT, "US survey foot"), (STATE_PLANE_FEET, "US survey foot"), (FOOT, "foot"), (METRE, "metre"))


def unit_in(text: str, source: UnitSource = "file") -> Unit | None:
    """The unit of length that ``text`` names; None if it names none."""
    name = next((name for pattern, name in MEANINGS if pattern.search(text)), None)
    return length(LENGTHS[name], source=source) if name else None
