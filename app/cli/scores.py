"""``pointserve predict --score``: agreement with the classification in the files, by file and pooled."""

from dataclasses import replace
from typing import TYPE_CHECKING

from .job import FileJob
from .terminal import warn

if TYPE_CHECKING:
    import numpy as np

    from app.clouds.cloud import ClassInfo, Cloud, Segmentation
    from app.clouds.comparison import Comparison


class Scores:
    """Gathers the score of every cloud and prints each, then that of all points together."""

    def __init__(self) -> None:
        self._classes: dict[int, ClassInfo] = {}
        self._pairs: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []

    def add(self, job: FileJob, cloud: "Cloud", segmentation: "Segmentation") -> None:
        """Compare and print; a cloud without a classification is warned of. BadRequest if the model has no codes."""
        import numpy as np

        from app.clouds.comparison import Comparison, paired

        truth = cloud.extra.get("classification")
        if truth is None:
            warn(f"{job.file.name} holds no classification to compare with.")
            return
        comparison = Comparison.of_model(segmentation.meta.classes, segmentation.meta.model)
        pairs, places = paired(truth, segmentation.labels)
        self._classes |= {info.id: info for info in segmentation.meta.classes}  # refinement may add some to each
        self._pairs.append(pairs)
        self._counts.append(np.bincount(places))
        _print(f"{job.file.name} compared with its classification", comparison, pairs, self._counts[-1])

    def print_pooled(self) -> None:
        """The score of all points of several files."""
        import numpy as np

        from app.clouds.comparison import Comparison

        if len(self._pairs) > 1:
            comparison = Comparison.of_model([*self._classes.values()])
            title = f"{len(self._pairs)} files, all points pooled"
            _print(title, comparison, np.concatenate(self._pairs), np.concatenate(self._counts))


def _print(title: str, comparison: "Comparison", pairs: "np.ndarray", counts: "np.ndarray") -> None:
    """The figures of each class, and with all vegetation as one class, for so many points of each of ``pairs``."""
    from app.evaluate.tables import class_table

    from .tables import print_table

    confusion = comparison.confusion(pairs[:, 0], pairs[:, 1], counts)
    table = class_table(comparison, confusion, title=title)
    print_table(replace(table, words=f"{confusion.ignored:,} points are of no class that is compared."))
    merged = comparison.vegetation_as_one(confusion)
    if merged:
        print_table(class_table(*merged, title="with vegetation as one class"))
