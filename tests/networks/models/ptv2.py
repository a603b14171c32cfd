"""Models with PT-v2."""

BACKBONE = {
    "type": "PT-v2m2",
    "in_channels": 4,
    "num_classes": 5,
    "patch_embed_channels": 8,
    "patch_embed_groups": 2,
    "enc_depths": (1, 1),
    "enc_channels": (16, 24),
    "enc_groups": (4, 4),
    "enc_neighbours": (16, 12),
    "dec_depths": (1, 1),
    "dec_channels": (8, 16),
    "dec_groups": (2, 4),
    "dec_neighbours": (16, 16),
    "grid_sizes": (0.1, 0.25),
}
PROMPTED = {"type": "PT-v2m3", "conditions": ("ScanNet", "S3DIS"), "norm_adaptive": False, "norm_affine": True}


def model(**changes) -> dict:
    return {"type": "DefaultSegmentor", "backbone": BACKBONE | changes}
