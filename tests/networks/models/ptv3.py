"""Models with PT-v3m1."""

BACKBONE = {
    "type": "PT-v3m1",
    "in_channels": 4,
    "order": ("z", "hilbert", "z-trans", "hilbert-trans"),
    "stride": (2, 4),
    "enc_depths": (2, 1, 2),
    "enc_channels": (16, 16, 32),
    "enc_num_head": (2, 2, 4),
    "enc_patch_size": (48, 48, 48),
    "dec_depths": (1, 2),
    "dec_channels": (16, 16),
    "dec_num_head": (2, 2),
    "dec_patch_size": (48, 48),
}


def model(**changes) -> dict:
    return {
        "type": "DefaultSegmentorV2",
        "num_classes": 5,
        "backbone_out_channels": 16,
        "backbone": BACKBONE | changes,
        "criteria": [{"type": "CrossEntropyLoss"}],
    }
