"""Experiment folders of other networks, made from the golden one."""

import re
from pathlib import Path

import torch
from torch import nn

from app.networks import registry


def with_model(folder: Path, model: dict, num_classes: int = 20, condition: str | None = None) -> nn.Module:
    """Rewrite ``folder`` for ``model``, with random weights; the network that they are of."""
    path = folder / "config.py"
    text, count = re.subn(
        r"^model = .*?(?=^optimizer = )", lambda _: f"model = {model!r}\n", path.read_text(), flags=re.M | re.S
    )
    assert count == 1
    if num_classes != 20:
        text = re.sub(r"num_classes=20", f"num_classes={num_classes}", text)
        text = re.sub(r"names=\[[^]]*\]", "names=[]", text)
    if condition:
        update = f"dict(type='Update', keys_dict={{'condition': {condition!r}}})"
        text = text.replace("post_transform=[", f"post_transform=[{update}, ")
    path.write_text(text)
    torch.manual_seed(0)
    network = registry.build(model)
    torch.save({"state_dict": network.state_dict()}, folder / "model" / "model_best.pth")
    return network
