"""The classification codes of LAS, and the groups in which they are compared with labels."""

import colorsys
from collections.abc import Collection, Iterable

import numpy as np

from app.clouds.cloud import ClassInfo
from app.clouds.lookup import looked_up

NEVER_CLASSIFIED, UNCLASSIFIED, GROUND, LOW_NOISE, OVERLAP, HIGH_NOISE = 0, 1, 2, 7, 12, 18
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
MAX_CODE = 255
ADDED_IDS = 1000  # ids of classes that no model knows are this and their code
GOLDEN_RATIO = 0.6180339887
COLORS = {
    0: (150, 150, 150),
    1: (190, 190, 190),
    2: (170, 121, 66),
    3: (154, 205, 50),
    4: (87, 170, 42),
    5: (34, 139, 34),
    6: (214, 69, 65),
    7: (255, 0, 255),
    9: (65, 105, 225),
    14: (255, 215, 0),
    15: (205, 133, 63),
    17: (112, 128, 144),
    18: (199, 21, 133),
}
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


def title_of(code: int) -> str:
    """A name for the class of ``code``, which no other code has."""
    return NAMES.get(code, f"{name_of(code)} {code}")


def class_of(code: int) -> ClassInfo:
    """The class for ``code`` of a model that has none for it; the same in every answer."""
    red, green, blue = colorsys.hls_to_rgb(code * GOLDEN_RATIO % 1, 0.5, 0.7)
    color = COLORS.get(code, (round(255 * red), round(255 * green), round(255 * blue)))
    return ClassInfo(ADDED_IDS + code, title_of(code), color, code)


def added(known: Collection[int], labels: Collection[int]) -> list[ClassInfo]:
    """The classes of those ``labels`` that are no ids of ``known`` classes of a model and mean a code."""
    codes = sorted(label - ADDED_IDS for label in labels if label not in known)
    return [class_of(code) for code in codes if 0 <= code <= MAX_CODE]


def codes_of(labels: np.ndarray, classes: Iterable[ClassInfo]) -> np.ndarray:
    """The codes that the ``labels`` (N,), ids of ``classes``, mean, uint8 (N,); unclassified for what has none."""
    codes = {info.id: info.asprs for info in classes if info.asprs is not None}
    return looked_up(labels, codes, UNCLASSIFIED, np.uint8)


def counts_as(code: int, known: Collection[int]) -> int | None:
    """The one of the ``known`` codes that ``code`` is compared with: itself, a stand-in, or None."""
    return next((candidate for candidate in (code, *STAND_INS.get(code, ())) if candidate in known), None)
