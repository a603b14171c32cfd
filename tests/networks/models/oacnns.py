"""Models with OACNNs."""

BACKBONE = {
    "type": "OACNNs",
    "in_channels": 4,
    "num_classes": 5,
    "embed_channels": 6,
    "enc_channels": (8, 8),
    "groups": (2, 2),
    "enc_depth": (1, 1),
    "dec_channels": (8, 8),
    "point_grid_size": ((4, 8), (2, 3)),
    "dec_depth": (2, 2),
}


def model(**changes) -> dict:
    return {"type": "DefaultSegmentor", "backbone": BACKBONE | changes}
