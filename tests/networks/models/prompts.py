"""Models for several datasets."""

from tests.networks.network_samples import SPUNET

CONDITIONS = ("Structured3D", "ScanNet", "S3DIS")
BACKBONE = SPUNET | {
    "type": "SpUNet-v1m3",
    "context_channels": 6,
    "conditions": ("ScanNet", "S3DIS", "Structured3D"),
    "norm_affine": True,
}
DECOUPLED = {
    "type": "PPT-v1m2",
    "backbone": BACKBONE,
    "criteria": [{"type": "CrossEntropyLoss"}],
    "backbone_out_channels": 8,
    "context_channels": 6,
    "conditions": CONDITIONS,
    "num_classes": (5, 4, 3),
}
LANGUAGE = {key: value for key, value in DECOUPLED.items() if key != "num_classes"} | {
    "type": "PPT-v1m1",
    "template": "[x]",
    "clip_model": "ViT-B/16",
    "class_name": ("wall", "floor", "bed", "chair", "sofa"),
    "valid_index": ((0, 1, 2, 3, 4), (0, 1, 3, 4), (4, 0, 1)),
    "embedding_channels": 7,
}
JOINT = {
    "type": "PPT-v1m3",
    "backbone": SPUNET,
    "backbone_out_channels": 8,
    "conditions": CONDITIONS,
    "class_names": (("wall", "floor"), ("wall",), ("bed", "chair", "sofa")),
    "embedding_channels": 7,
}
