"""The classes that a file itself states for its points."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.clouds import asprs, occurrences
from app.clouds.cloud import ClassInfo, Cloud
from app.clouds.comparison import Comparison

COLUMNS = ("classification", "segment", "label")


@dataclass(frozen=True)
class Reference:
    """The column ``name`` of a cloud: whole numbers ``codes``, ascending, and how many points have each."""

    name: str
    codes: list[int]
    counts: list[int]

    @property
    def is_asprs(self) -> bool:
        """Whether the codes are those of LAS."""
        return self.name == "classification"

    def described(self, classes: list[ClassInfo]) -> dict[str, Any]:
        """For each code its name, its count, and the key by which it is compared with ``classes``: their ``asprs`` or
        their ``id``. The key is null if no class has the code, or if it says that nobody classified the point."""
        name_of = {known.id: known.name for known in classes}
        compared = comparison(self.name, classes)
        values = []
        for code, count in zip(self.codes, self.counts, strict=True):
            key = compared.codes[compared.truth[code]][0] if compared and code in compared.truth else None
            name = asprs.title_of(code) if self.is_asprs else name_of.get(code, f"code {code}")
            values.append({"code": code, "name": name, "count": count, "key": key})
        return {"column": self.name, "key": "asprs" if self.is_asprs else "id", "values": values}


def comparison(column: str, classes: Sequence[ClassInfo]) -> Comparison | None:
    """How ``classes`` of an answer are compared with a file's ``column``: by ASPRS codes or by ids; None if the column
    has codes and no class states one that is compared."""
    if column != "classification":
        return Comparison.of_ids(classes)
    codes = {info.asprs for info in classes} - {None, *asprs.IGNORED}
    return Comparison.of_model(classes) if codes else None


def find(cloud: Cloud) -> Reference | None:
    """The first of ``COLUMNS`` that classifies points of ``cloud``; None if all have one code or none is there."""
    for name in COLUMNS:
        if name not in cloud.extra:
            continue
        unique, counts = occurrences.of(cloud.extra[name])
        whole = np.isfinite(unique) & (unique == np.floor(unique))
        if 1 < np.count_nonzero(whole) < 1 << 16:
            return Reference(name, unique[whole].astype(np.int64).tolist(), counts[whole].tolist())
    return None
