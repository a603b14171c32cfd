"""``pointserve predict --score``: agreement with the classification in the files, by file and pooled."""

from typing import TYPE_CHECKING

from .job import FileJob
from .terminal import results, warn

if TYPE_CHECKING:
    from app.clouds.cloud import Cloud, Segmentation
    from app.score import Score


class Scores:
    """Gathers the score of every cloud and prints each, then that of all points together."""

    def __init__(self) -> None:
        self._scores: list[Score] = []

    def add(self, job: FileJob, cloud: "Cloud", segmentation: "Segmentation") -> None:
        """Compare and print; a cloud without a classification is warned of. Raises BadRequest as ``app.score`` does."""
        from app.score import score

        from .tables import score_table

        truth = cloud.extra.get("classification")
        if truth is None:
            warn(f"{job.file.name} holds no classification to compare with.")
            return
        self._scores.append(score(truth, segmentation))
        results.print(score_table(f"{job.file.name} compared with its classification", self._scores[-1]))

    def print_pooled(self) -> None:
        """The score of all points of several files."""
        from app.score import pooled

        from .tables import score_table

        if len(self._scores) > 1:
            title = f"{len(self._scores)} files, all points pooled"
            results.print(score_table(title, pooled(self._scores)))
