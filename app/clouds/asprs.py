"""The classification codes of LAS, and the groups in which they are compared with labels."""

from collections.abc import Collection

NEVER_CLASSIFIED, UNCLASSIFIED, LOW_NOISE, OVERLAP, HIGH_NOISE = 0, 1, 7, 12, 18
IGNORED = (NEVER_CLASSIFIED, UNCLASSIFIED, LOW_NOISE, OVERLAP, HIGH_NOISE)
NAMES = {
    0: "never classified",
    1: "unclassified",
    2: "ground",
    3: "low vegetation",
    4: "medium vegetation",
    5: "high vegetation",
    6: "building",
    7: "low noise",
    8: "key point",
    9: "water",
    10: "rail",
    11: "road surface",
    12: "overlap",
    13: "wire guard",
    14: "wire conductor",
    15: "transmission tower",
    16: "wire connector",
    17: "bridge deck",
    18: "high noise",
    19: "overhead structure",
    20: "ignored ground",
    21: "snow",
    22: "temporal exclusion",
}
FIRST_USER_CODE = 64
VEGETATION = (3, 4, 5)
STAND_INS = {
    3: (4, 5),  # low, medium and high vegetation stand for each other where a model has not all of them
    4: (5, 3),
    5: (4, 3),
    8: (2,),  # key points and road surfaces are ground
    11: (2,),
}


def name_of(code: int) -> str:
    """The meaning of ``code``, if LAS states one."""
    return NAMES.get(code, "reserved" if 0 <= code < FIRST_USER_CODE else "user-defined")


def counts_as(code: int, known: Collection[int]) -> int | None:
    """The one of the ``known`` codes that ``code`` is compared with: itself, a stand-in, or None."""
    return next((candidate for candidate in (code, *STAND_INS.get(code, ())) if candidate in known), None)
