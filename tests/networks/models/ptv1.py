"""Models with PointTransformer-Seg."""

PLANES = (8, 16, 16, 16, 24)


def model(size: int = 26, **changes) -> dict:
    backbone = {"type": f"PointTransformer-Seg{size}", "in_channels": 4, "num_classes": 5, "planes": PLANES}
    return {"type": "DefaultSegmentor", "backbone": backbone | changes}
