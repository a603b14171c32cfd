"""``pointserve predict --score``: agreement with the classification in the files, by file and pooled."""

from dataclasses import replace
from typing import TYPE_CHECKING

from .job import FileJob
from .terminal import results, warn

if TYPE_CHECKING:
    from app.clouds.cloud import Cloud, Segmentation
    from app.clouds.comparison import Comparison
    from app.confusion import Confusion


class Scores:
    """Gathers the score of every cloud and prints each, then that of all points together."""

    def __init__(self) -> None:
        self._comparison: Comparison | None = None
        self._confusions: list[Confusion] = []

    def add(self, job: FileJob, cloud: "Cloud", segmentation: "Segmentation") -> None:
        """Compare and print; a cloud without a classification is warned of. BadRequest if the model has no codes."""
        from app.clouds.comparison import Comparison

        truth = cloud.extra.get("classification")
        if truth is None:
            warn(f"{job.file.name} holds no classification to compare with.")
            return
        self._comparison = Comparison.of_model(segmentation.meta.classes, segmentation.meta.model)
        self._confusions.append(self._comparison.confusion(truth, segmentation.labels))
        self._print(f"{job.file.name} compared with its classification", self._confusions[-1])

    def print_pooled(self) -> None:
        """The score of all points of several files."""
        from app.confusion import pooled

        if len(self._confusions) > 1:
            self._print(f"{len(self._confusions)} files, all points pooled", pooled(self._confusions))

    def _print(self, title: str, confusion: "Confusion") -> None:
        """The figures of each class, and with all vegetation as one class."""
        from app.evaluate.tables import class_table

        from .tables import shown

        assert self._comparison is not None
        table = class_table(self._comparison, confusion, title=title)
        results.print(shown(replace(table, words=f"{confusion.ignored:,} points are of no class that is compared.")))
        merged = self._comparison.vegetation_as_one(confusion)
        if merged:
            results.print(shown(class_table(*merged, title="with vegetation as one class")))
