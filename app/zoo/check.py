"""The checks of ``pointserve models check``: what an experiment folder holds, and whether it can be served."""

from dataclasses import dataclass, field
from pathlib import Path

from app.errors import BadModel, some_of
from app.pipeline.segmenter import Segmenter
from app.settings import DEFAULTS, ModelSettings

from .checkpoint import Checkpoint, open_checkpoint
from .encoder import is_encoder
from .experiment import Experiment, below, load
from .loading import build_for, match_weights

SHOWN = 6


@dataclass(frozen=True)
class Finding:
    """One check: its name, whether it passed, and what was found or why it failed."""

    check: str
    ok: bool
    detail: str


@dataclass
class FolderReport:
    """Findings in the order of the checks; the first failure is the ``reason`` why a folder is not ``served``."""

    name: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def served(self) -> bool:
        """Whether every check passed."""
        return all(finding.ok for finding in self.findings)

    @property
    def reason(self) -> str:
        """Why the folder is not served, '' if it is."""
        return next((finding.detail for finding in self.findings if not finding.ok), "")

    def passed(self, check: str, detail: str) -> None:
        """Add a check that passed."""
        self.findings.append(Finding(check, True, detail))

    def failed(self, check: str, error: BadModel) -> None:
        """Add a check that failed."""
        self.findings.append(Finding(check, False, error.detail))


def check(folder: Path, settings: ModelSettings = DEFAULTS) -> FolderReport:
    """Everything that serving ``folder`` would find. A check that needs what has failed is left out."""
    report = FolderReport(folder.name or str(folder))
    experiment = _check_config(folder, settings, report)
    if experiment is None:
        return report
    checkpoint = _check_weights(experiment, report)
    if checkpoint is not None:
        _check_network(experiment, checkpoint, report)
    return report


def _check_place(folder: Path) -> None:
    """Raise BadModel if ``folder`` is neither an experiment folder nor the file of an encoder."""
    if not folder.exists():
        raise BadModel(f"{folder} does not exist; expected is an experiment folder, which holds config.py")
    if folder.is_file() and not is_encoder(folder):
        raise BadModel(f"{folder} is a file; expected is the experiment folder around it, or the .pth of an encoder")
    experiments = below(folder)
    if experiments and experiments != [folder]:
        names = some_of([str(experiment.relative_to(folder)) for experiment in experiments], SHOWN)
        raise BadModel(f"{folder} holds no config.py; name an experiment below it: {names}")


def _check_config(folder: Path, settings: ModelSettings, report: FolderReport) -> Experiment | None:
    try:
        _check_place(folder)
        experiment = load(folder, settings)
    except BadModel as error:
        report.failed("config", error)
        return None
    report.name = experiment.name
    procedure = experiment.procedure
    steps = [step["type"] for step in (*procedure.transform, procedure.voxelize, *procedure.post_transform)]
    report.passed("config", f"{len(experiment.config)} names, task {experiment.task}")
    report.passed("classes", f"{len(experiment.classes)}: {some_of([info.name for info in experiment.classes], SHOWN)}")
    report.passed("features", f"{', '.join(experiment.feat_keys)} in voxels of {procedure.voxelize['grid_size']} m")
    report.passed("procedure", f"{' → '.join(steps)}; {len(procedure.aug_transform)} views")
    for remark in procedure.remarks:
        report.passed("semantics", remark)
    return experiment


def _check_weights(experiment: Experiment, report: FolderReport) -> Checkpoint | None:
    path = experiment.checkpoint
    try:
        checkpoint = open_checkpoint(path, experiment.settings)
    except BadModel as error:
        report.failed("weights", error)
        return None
    size = sum(tensor.numel() for tensor in checkpoint.weights.values())
    name = path.relative_to(experiment.path) if experiment.path.is_dir() else path.name
    detail = f"{name}: {len(checkpoint.weights)} tensors, {size:,} values"
    report.passed("weights", detail)
    if checkpoint.ignored:
        report.passed("not imported", f"the file names {some_of(checkpoint.ignored, SHOWN)}; none of it was imported")
    return checkpoint


def _check_network(experiment: Experiment, checkpoint: Checkpoint, report: FolderReport) -> None:
    try:
        checkpoint = match_weights(experiment, checkpoint)
        network = build_for(experiment, checkpoint.weights)
        Segmenter(network, experiment.procedure)
    except BadModel as error:
        report.failed("network", error)
        return
    for remark in checkpoint.remarks:
        report.passed("names", remark)
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    report.passed("network", f"{experiment.card()['backbone']}, {num_parameters:,} parameters, all weights fit")
