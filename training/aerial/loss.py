"""What training lowers: cross entropy of the classes, and the Jaccard loss of them with vegetation as one."""

import torch
from torch import Tensor, nn

CLASS_WEIGHTS = (1.0, 2.0, 1.6, 1.3, 2.0, 1.0)


def lovasz(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean over the classes present of the Lovász extension of 1 - IoU.

    ``probabilities`` is float32 (V, C), ``labels`` int64 (V,) without ignored ones. M. Berman, A. Rannen Triki and
    M. Blaschko, The Lovász-Softmax loss, CVPR 2018.
    """
    losses = []
    for number in labels.unique():
        foreground = (labels == number).float()
        errors, order = (foreground - probabilities[:, number]).abs().sort(descending=True)
        hit = foreground[order]
        intersection, union = hit.sum() - hit.cumsum(0), hit.sum() + (1 - hit).cumsum(0)
        jaccard = 1 - intersection / union
        losses.append((errors * jaccard.diff(prepend=jaccard.new_zeros(1))).sum())
    return torch.stack(losses).mean()


class Loss(nn.Module):
    """Of logits (V, 6) and labels int64 (V,) with -1 ignored, classes as in the config."""

    def __init__(self) -> None:
        super().__init__()
        self.cross_entropy = nn.CrossEntropyLoss(torch.tensor(CLASS_WEIGHTS), ignore_index=-1)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The sum of both."""
        known = labels >= 0
        ground, low, higher, *others = logits[known].softmax(1).unbind(1)
        merged = (labels[known] - 1).where(labels[known] > 1, labels[known])
        return self.cross_entropy(logits, labels) + lovasz(torch.stack([ground, low + higher, *others], 1), merged)
