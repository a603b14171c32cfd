"""Finds and reads models: experiment folders as Pointcept writes them, and files of encoders."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from app.clouds.cloud import ClassInfo
from app.errors import BadModel, UnreadableModel
from app.networks.registry import UPSTREAM
from app.pipeline.procedure import InferenceProcedure
from app.settings import DEFAULTS, ModelSettings, value_for

from . import backend, class_codes, encoder, legacy, procedure_parser
from .conditions import classes_by_condition
from .config import evaluate

BUNDLED = Path(__file__).parents[1] / "bundled"
WEIGHTS = ("model/model_best.pth", "model/model_best.safetensors", "model/model_last.pth")
LOOSE = (".safetensors", ".pth")  # beside config.py
OF_OTHERS = (".ckpt", ".pt", ".bin")  # how other trainers call a file of torch.save, where there is none of LOOSE
MAX_LEVELS_BELOW = 2  # Pointcept's own tree is exp/<dataset>/<experiment>
TASKS = {"InsSegTester": "instance segmentation", "ClsTester": "classification", "PartSegTester": "part segmentation"}


@dataclass(frozen=True)
class Experiment:
    """An experiment folder, or the file of an encoder or of its head, without the weights.

    Attributes:
        name: of the folder.
        path: of the folder or the file, absolute.
        checkpoint: the file of weights that will be read.
        config: every top-level name of config.py.
        model: the config's ``model``.
        procedure: the test procedure.
        dataset: the config's ``data.title`` or else the type of its dataset.
        task: as the config's tester says, "semantic segmentation" if it names none.
        feat_keys: what the network reads, in its order.
        grid_size_m: side of a voxel; None if it differs by axis.
        condition: name of the dataset whose norms and head a network trained on several should use.
        settings: those that it was loaded with.
    """

    name: str
    path: Path
    checkpoint: Path
    config: dict[str, Any]
    model: dict[str, Any]
    procedure: InferenceProcedure
    dataset: str | None
    task: str
    feat_keys: tuple[str, ...]
    grid_size_m: float | None
    condition: str | None
    settings: ModelSettings

    @property
    def classes(self) -> list[ClassInfo]:
        """Every class in the order of the logits."""
        return self.procedure.classes

    @property
    def ignore_label(self) -> int:
        """The label of points that could not be used."""
        return self.procedure.ignore_label

    def card(self, num_parameters: int = 0, reason: str = "") -> dict[str, Any]:
        """The fields of a model card, plain values only; a ``reason`` says why the model is not served."""
        model = self.model.get("model", self.model)  # that which Pointcept runs
        backbone = model.get("backbone")
        kind = backbone.get("type") if isinstance(backbone, dict) else model.get("type")
        return {
            "name": self.name,
            "path": str(self.path),
            "task": self.task,
            "backbone": str(kind),
            "num_classes": len(self.classes),
            "classes": [asdict(info) | {"color": list(info.color)} for info in self.classes],
            "feat_keys": list(self.feat_keys),
            "grid_size_m": self.grid_size_m,
            "num_parameters": num_parameters,
            "dataset": self.dataset,
            "served": not reason,
            "reason": reason,
            "backend": "upstream" if self.model.get("type") == UPSTREAM else "native",
            "vegetation_heights_m": list(self.procedure.vegetation_heights_m),
        }


def find(setting: str) -> list[Path]:
    """What ``setting`` names, joined by ':': experiment folders, parents of such, files of encoders; '' for the
    bundled ones.

    Raises BadModel if one of them holds no experiment.
    """
    found: list[Path] = []
    for part in split(setting) or [str(BUNDLED)]:
        root = Path(os.path.abspath(Path(part).expanduser()))
        if encoder.is_encoder(root):
            found += [root] if root not in found else []
            continue
        folders = below(root)
        if not folders:
            raise BadModel(
                f"no experiment at {part!r}; expected a folder with config.py and model/model_best.pth as Pointcept "
                "writes it, a parent of such folders, or the .pth of a pretrained encoder"
            )
        found += [folder for folder in folders if folder not in found]
    return found


def split(setting: str) -> list[str]:
    """The paths that ``setting`` joins by ':'; what exists with a ':' in its name is one of them."""
    rest = setting.split(":") if setting else []
    paths: list[str] = []
    while rest:
        lengths = range(len(rest), 1, -1)
        whole = next((n for n in lengths if os.path.exists(os.path.expanduser(":".join(rest[:n])))), 1)
        paths.append(":".join(rest[:whole]))
        del rest[:whole]
    return [path for path in paths if path]


def below(root: Path) -> list[Path]:
    """The experiment folders at ``root`` or on the first level below it that holds any."""
    depths = ["*/" * levels + "config.py" for levels in range(MAX_LEVELS_BELOW + 1)]
    return next(([config.parent for config in hits] for depth in depths if (hits := sorted(root.glob(depth)))), [])


def load(folder: Path, settings: ModelSettings = DEFAULTS) -> Experiment:
    """The content of config.py and the path of the weights, with the semantics and the backend that the settings want.

    Raises BadModel naming the key that is missing or contradicts.
    """
    folder = Path(os.path.abspath(folder))
    if encoder.is_encoder(folder):
        return _of_encoder(encoder.load(folder, settings), settings)
    config = evaluate(folder / "config.py")
    model = procedure_parser.value(config, "model", dict, "dict(type=…, …)")
    block = procedure_parser.test_block(config)
    procedure = procedure_parser.parse(folder.name, config)
    condition = procedure_parser.condition(block, procedure)
    conditions = classes_by_condition(model, condition, procedure.classes)
    condition = condition or next(iter(conditions), None)
    feat_keys = procedure_parser.feat_keys(procedure)
    procedure_parser.check_in_channels(model, feat_keys)
    checkpoint = _checkpoint(folder)
    model, procedure = legacy.apply(model, procedure, checkpoint, settings)
    model, procedure = backend.apply(model, procedure, value_for(settings.backend, folder.name))
    return Experiment(
        name=folder.name,
        path=folder,
        checkpoint=checkpoint,
        config=config,
        model=model,
        procedure=class_codes.apply(replace(procedure, condition=condition, conditions=conditions), folder),
        dataset=procedure_parser.dataset(config),
        task=TASKS.get(procedure_parser.tester(config), "semantic segmentation"),
        feat_keys=feat_keys,
        grid_size_m=procedure_parser.grid_size_m(procedure),
        condition=condition,
        settings=settings,
    )


def _of_encoder(file: encoder.EncoderFile, settings: ModelSettings) -> Experiment:
    feat_keys = procedure_parser.feat_keys(file.procedure)
    procedure_parser.check_in_channels(file.model, feat_keys)
    return Experiment(
        name=file.path.name,
        path=file.path,
        checkpoint=file.weights,
        config={"model": file.model},
        model=file.model,
        procedure=file.procedure,
        dataset=file.dataset,
        task="semantic segmentation" if file.procedure.classes else "features",
        feat_keys=feat_keys,
        grid_size_m=procedure_parser.grid_size_m(file.procedure),
        condition=None,
        settings=settings,
    )


def _checkpoint(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    beside = sorted(path for path in folder.glob("*") if path.is_file())
    loose = [path for path in beside if path.suffix in LOOSE]
    loose = loose or [path for path in beside if path.suffix in OF_OTHERS]
    if len(loose) == 1:
        return loose[0]
    found = f"{len(loose)} files of weights beside config.py ({', '.join(path.name for path in loose)})"
    raise (BadModel if loose else UnreadableModel)(
        f"{folder.name}: {found if loose else 'no weights'}; expected {', '.join(WEIGHTS)}, "
        f"or exactly one {' or '.join(LOOSE)} beside config.py, else one {', '.join(OF_OTHERS)}"
    )
