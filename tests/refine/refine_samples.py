"""Scenes for tests of refinement."""

import numpy as np
import torch

from app.clouds.cloud import ClassInfo, Cloud
from app.refine.legend import Legend
from app.refine.scene import Scene

AERIAL = [
    ClassInfo(0, "ground", (170, 121, 66), 2),
    ClassInfo(1, "vegetation", (34, 139, 34), 5),
    ClassInfo(2, "building", (214, 69, 65), 6),
]
PLAIN = [ClassInfo(info.id, info.name, info.color) for info in AERIAL]


def make_scene(labels, xyz=None, *, classes=AERIAL, sure=0.9, metres=(1, 1, 1), num_context=0, device="cpu", **columns):
    """A scene of points with the ``labels`` (N,), ids of ``classes``, -1 for one that is not usable.

    The row of each is its own; ``sure`` is the probability of its label, one for all or one each.
    """
    labels = np.asarray(labels)
    xyz = np.zeros((len(labels), 3)) if xyz is None else np.asarray(xyz, float)
    cloud = Cloud(xyz, "las", extra={name: np.asarray(values) for name, values in columns.items()})
    cloud.num_context = num_context
    usable = labels[labels >= 0]
    sure = np.broadcast_to(sure, len(labels))[labels >= 0]
    shares = np.repeat((1 - sure)[:, None] / (len(classes) - 1), len(classes), 1)
    shares[np.arange(len(usable)), usable] = sure
    rows = np.full(len(labels), -1)
    rows[labels >= 0] = np.arange(len(usable))

    def load(values):
        return torch.from_numpy(values).to(device)

    return Scene(cloud, load(rows), load(shares.astype(np.float32)), Legend(classes), -1, metres, load, [])


def codes(scene):
    """int64 (P,), the ASPRS code that the label of each point means, -1 for none."""
    code_of = {info.id: info.asprs for info in scene.classes.infos if info.asprs is not None}
    return torch.tensor([code_of.get(label, -1) for label in scene.labels.tolist()])
