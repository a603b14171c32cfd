"""Models with PT-v3m2, PT-v3m3 and LitePT-v1."""

STAGES = {
    "in_channels": 4,
    "order": ("z", "hilbert", "z-trans", "hilbert-trans"),
    "stride": (2, 4),
    "enc_depths": (2, 1, 2),
    "enc_channels": (12, 12, 24),
    "enc_num_head": (2, 2, 4),
    "enc_patch_size": (48, 48, 48),
    "dec_depths": (1, 2),
    "dec_channels": (12, 12),
    "dec_num_head": (2, 2),
    "dec_patch_size": (48, 48),
}
LITE = {
    "type": "LitePT-v1",
    "enc_conv": (True, True, False),
    "enc_attn": (False, True, True),
    "enc_rope_freq": (100.0, 100.0, 100.0),
    "dec_conv": (True, False),
    "dec_attn": (False, True),
    "dec_rope_freq": (100.0, 100.0),
}
SONATA = {"type": "PT-v3m2", "layer_scale": 0.5, "mask_token": True, "traceable": True}
UTONIA = {"type": "PT-v3m3", "rope_base": 10}


def model(kind: dict, **changes) -> dict:
    backbone = STAGES | kind | changes
    width = sum(STAGES["enc_channels"]) if backbone.get("enc_mode") else 12
    return {
        "type": "DefaultSegmentorV2",
        "num_classes": 5,
        "backbone_out_channels": width,
        "backbone": backbone,
        "freeze_backbone": True,
    }
