"""What training lowers: cross entropy of the classes, and their Jaccard loss, mostly with vegetation as one."""

import torch
from torch import Tensor, nn

CLASS_WEIGHTS = (1.0, 2.0, 1.6, 1.3, 2.0, 1.0)
SHARE_OF_KINDS = 0.3


def lovasz(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean over the classes present of the Lovász extension of 1 - IoU; no value is read back from a GPU.

    ``probabilities`` is float32 (V, C), ``labels`` int64 (V,); rows that are ignored have zeros and -1.
    M. Berman, A. Rannen Triki and M. Blaschko, The Lovász-Softmax loss, CVPR 2018.
    """
    losses, is_present = [], []
    for number, shares in enumerate(probabilities.unbind(1)):
        foreground = (labels == number).float()
        errors, order = (foreground - shares).abs().sort(descending=True)
        hit = foreground[order]
        intersection, union = hit.sum() - hit.cumsum(0), hit.sum() + (1 - hit).cumsum(0)
        jaccard = 1 - intersection / union
        losses.append((errors * jaccard.diff(prepend=jaccard.new_zeros(1))).sum())
        is_present.append(foreground.amax())
    present = torch.stack(is_present)
    return (torch.stack(losses) * present).sum() / present.sum()


class Loss(nn.Module):
    """Of logits (V, 6) and labels int64 (V,) with -1 ignored, classes as in the config."""

    def __init__(self) -> None:
        super().__init__()
        self.cross_entropy = nn.CrossEntropyLoss(torch.tensor(CLASS_WEIGHTS), ignore_index=-1)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross entropy, Jaccard loss with vegetation as one, and a share of that of all classes."""
        shares = logits.softmax(1) * (labels >= 0)[:, None]
        ground, low, higher, *others = shares.unbind(1)
        merged = (labels - 1).where(labels > 1, labels)
        of_merged = lovasz(torch.stack([ground, low + higher, *others], 1), merged)
        return self.cross_entropy(logits, labels) + of_merged + SHARE_OF_KINDS * lovasz(shares, labels)
