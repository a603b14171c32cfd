"""What is in an answer: points by class, and how they agree with the classes that the file came with."""

from dataclasses import dataclass, field

import numpy as np

from app.clouds import occurrences, reference
from app.clouds.cloud import Cloud

MAX_SPAN = 256  # of codes that need no table
MAX_PAIRS = 1 << 18  # of code and class; a column with more is no classification


@dataclass(frozen=True)
class Summary:
    """Points by class, and how they agree with what the file says.

    Attributes:
        counts: points by class id.
        reference: column of the file that classifies its points, '' if none does.
        agreement: (code in that column, class id, points), for every pair that occurs.
    """

    counts: dict[int, int] = field(default_factory=dict)
    reference: str = ""
    agreement: list[tuple[int, int, int]] = field(default_factory=list)

    @classmethod
    def of(cls, cloud: Cloud, labels: np.ndarray) -> "Summary":
        """Of ``labels`` (N,) for the first N points of ``cloud``; the rest is context."""
        ids, numbers = occurrences.of(labels)
        counts = dict(zip(ids.tolist(), numbers.tolist(), strict=True))
        found = reference.find(cloud)
        if found is None or not counts:
            return cls(counts)
        codes = cloud.extra[found.name][: len(labels)]
        if codes.dtype.kind == "f":
            is_whole = np.isin(codes, found.codes)
            codes, labels = codes[is_whole], labels[is_whole]
        least, first = int(ids[0]), found.codes[0]
        num_labels, span = int(ids[-1]) - least + 1, found.codes[-1] - first + 1
        codes = codes if codes.dtype == np.uint8 else codes.astype(np.int64)
        if span <= MAX_SPAN:
            known, rows = list(range(first, first + span)), codes - first
        else:
            known, rows = found.codes, np.searchsorted(found.codes, codes)
        kind = np.dtype(np.uint16 if len(known) * num_labels < 1 << 16 else np.int64)
        columns = np.subtract(labels, least, dtype=np.int64).astype(kind)
        pairs, numbers = occurrences.of(rows.astype(kind) * num_labels + columns)
        if len(pairs) > MAX_PAIRS:
            return cls(counts)
        cells = zip(pairs.tolist(), numbers.tolist(), strict=True)
        return cls(counts, found.name, [(known[pair // num_labels], pair % num_labels + least, n) for pair, n in cells])
