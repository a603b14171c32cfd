"""Class names, display colors and ASPRS codes of the datasets that Pointcept trains on."""

import colorsys

from app.clouds.cloud import ClassInfo

Color = tuple[int, int, int]

OKABE_ITO: tuple[Color, ...] = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (213, 94, 0),
    (86, 180, 233),
    (204, 121, 167),
    (240, 228, 66),
)
GOLDEN_RATIO = 0.6180339887

INDOOR_COLORS: dict[str, Color] = {
    "wall": (174, 199, 232),
    "floor": (152, 223, 138),
    "cabinet": (31, 119, 180),
    "bed": (255, 187, 120),
    "chair": (188, 189, 34),
    "sofa": (140, 86, 75),
    "table": (255, 152, 150),
    "door": (214, 39, 40),
    "window": (197, 176, 213),
    "bookshelf": (148, 103, 189),
    "picture": (196, 156, 148),
    "counter": (23, 190, 207),
    "desk": (247, 182, 210),
    "curtain": (219, 219, 141),
    "refrigerator": (255, 127, 14),
    "refridgerator": (255, 127, 14),
    "shower curtain": (158, 218, 229),
    "toilet": (44, 160, 44),
    "sink": (112, 128, 144),
    "bathtub": (227, 119, 194),
    "otherfurniture": (82, 84, 163),
    "other furniture": (82, 84, 163),
    "other": (82, 84, 163),
    "ceiling": (78, 71, 183),
    "shelves": (172, 114, 82),
    "dresser": (202, 185, 52),
    "pillow": (51, 176, 203),
    "mirror": (200, 54, 131),
    "television": (92, 60, 40),
    "night stand": (146, 111, 194),
    "nightstand": (146, 111, 194),
    "lamp": (240, 220, 90),
    "other structure": (107, 142, 35),
    "otherstructure": (107, 142, 35),
    "other prop": (100, 125, 154),
    "otherprop": (100, 125, 154),
}
S3DIS_COLORS: dict[str, Color] = {
    "ceiling": (0, 255, 0),
    "floor": (0, 0, 255),
    "wall": (0, 255, 255),
    "beam": (255, 255, 0),
    "column": (255, 0, 255),
    "window": (100, 100, 255),
    "door": (200, 200, 100),
    "table": (170, 120, 200),
    "chair": (255, 0, 0),
    "sofa": (200, 100, 100),
    "bookcase": (10, 200, 100),
    "board": (200, 200, 200),
    "clutter": (50, 50, 50),
}
STREET_COLORS: dict[str, Color] = {
    "car": (100, 150, 245),
    "bicycle": (100, 230, 245),
    "motorcycle": (30, 60, 150),
    "truck": (80, 30, 180),
    "bus": (255, 127, 80),
    "trailer": (255, 140, 0),
    "other vehicle": (100, 80, 250),
    "construction vehicle": (233, 150, 70),
    "person": (255, 30, 30),
    "pedestrian": (255, 30, 30),
    "bicyclist": (255, 40, 200),
    "motorcyclist": (150, 30, 90),
    "road": (255, 0, 255),
    "driveable surface": (255, 0, 255),
    "lane marker": (255, 170, 255),
    "parking": (255, 150, 255),
    "sidewalk": (75, 0, 75),
    "walkable": (130, 60, 130),
    "curb": (110, 20, 110),
    "other ground": (175, 0, 75),
    "other flat": (175, 0, 75),
    "building": (255, 200, 0),
    "manmade": (222, 184, 135),
    "fence": (255, 120, 50),
    "barrier": (112, 128, 144),
    "vegetation": (0, 175, 0),
    "trunk": (135, 60, 0),
    "tree trunk": (135, 60, 0),
    "terrain": (150, 240, 80),
    "pole": (255, 240, 150),
    "traffic sign": (255, 0, 0),
    "sign": (255, 0, 0),
    "traffic light": (200, 200, 0),
    "traffic cone": (47, 79, 79),
    "construction cone": (47, 79, 79),
}
# ASPRS LAS 1.4 codes of the classes that mean the same. Street datasets' vegetation has no height, so no code.
STREET_ASPRS = {"terrain": 2, "building": 6, "road": 11, "driveable surface": 11}

# Keys are how Pointcept's dataset types begin.
NAMES = {
    "ScanNet": (
        "wall, floor, cabinet, bed, chair, sofa, table, door, window, bookshelf, picture, counter, desk, curtain, "
        "refridgerator, shower curtain, toilet, sink, bathtub, otherfurniture"
    ),
    "S3DIS": ("ceiling, floor, wall, beam, column, window, door, table, chair, sofa, bookcase, board, clutter"),
    "Structured3D": (
        "wall, floor, cabinet, bed, chair, sofa, table, door, window, picture, desk, shelves, curtain, dresser, "
        "pillow, mirror, ceiling, refrigerator, television, nightstand, sink, lamp, otherstructure, otherfurniture, "
        "otherprop"
    ),
    "Matterport3D": (
        "wall, floor, cabinet, bed, chair, sofa, table, door, window, bookshelf, picture, counter, desk, curtain, "
        "refrigerator, shower curtain, toilet, sink, bathtub, other, ceiling"
    ),
    "NuScenes": (
        "barrier, bicycle, bus, car, construction_vehicle, motorcycle, pedestrian, traffic_cone, trailer, truck, "
        "driveable_surface, other_flat, sidewalk, terrain, manmade, vegetation"
    ),
    "SemanticKITTI": (
        "car, bicycle, motorcycle, truck, other-vehicle, person, bicyclist, motorcyclist, road, parking, sidewalk, "
        "other-ground, building, fence, vegetation, trunk, terrain, pole, traffic-sign"
    ),
    "Waymo": (
        "Car, Truck, Bus, Other Vehicle, Motorcyclist, Bicyclist, Pedestrian, Sign, Traffic Light, Pole, "
        "Construction Cone, Bicycle, Motorcycle, Building, Vegetation, Tree Trunk, Curb, Road, Lane Marker, "
        "Other Ground, Walkable, Sidewalk"
    ),
}
COLORS = {
    "ScanNet": INDOOR_COLORS,
    "Structured3D": INDOOR_COLORS,
    "Matterport3D": INDOOR_COLORS,
    "S3DIS": S3DIS_COLORS,
    "NuScenes": STREET_COLORS,
    "SemanticKITTI": STREET_COLORS,
    "Waymo": STREET_COLORS,
}


def names_of(dataset: str | None, num_classes: int) -> list[str]:
    """Class names of a Pointcept dataset type if it is known and has so many, else 'class 0', 'class 1', …"""
    known = NAMES.get(_family(dataset, []), "").split(", ")
    return known if len(known) == num_classes else [f"class {i}" for i in range(num_classes)]


def describe(dataset: str | None, names: list[str]) -> list[ClassInfo]:
    """Classes in the order of ``names``, colors and ASPRS codes as the dataset has them for these names.

    The dataset is known by its type or by its names. Names are compared without case, dash and underscore. Colors
    that the dataset does not give come from ``palette``.
    """
    colors = COLORS.get(_family(dataset, names), {})
    codes = STREET_ASPRS if colors is STREET_COLORS else {}
    keys = [name.lower().replace("-", " ").replace("_", " ") for name in names]
    taken = {colors[key] for key in keys if key in colors}
    free = (color for color in palette(len(names) + len(taken)) if color not in taken)
    return [
        ClassInfo(i, name, colors[key] if key in colors else next(free), codes.get(key))
        for i, (name, key) in enumerate(zip(names, keys, strict=True))
    ]


def _family(dataset: str | None, names: list[str]) -> str:
    by_type = (family for family in COLORS if dataset and dataset.startswith(family))
    by_names = (family for family, known in NAMES.items() if known.split(", ") == names)
    return next(by_type, None) or next(by_names, "")


def palette(num_colors: int) -> list[Color]:
    """Distinct colors: first those of Okabe and Ito, which color-blind eyes can distinguish, then hues by the golden
    ratio.

    The later ones change lightness at every step, so that neighbours differ by more than hue.
    """
    colors = list(OKABE_ITO[:num_colors])
    step = 0
    while len(colors) < num_colors:
        step += 1
        lightness = (0.35, 0.65, 0.5, 0.8)[step % 4]
        red, green, blue = colorsys.hls_to_rgb(step * GOLDEN_RATIO % 1, lightness, (0.85, 0.55)[step % 8 > 3])
        color = (round(255 * red), round(255 * green), round(255 * blue))
        if color not in colors:
            colors.append(color)
    return colors
