import re
from dataclasses import fields
from pathlib import Path

import pytest

from app.clouds.cloud import ClassInfo
from app.engine.model_card import ModelCard
from app.errors import BadModel
from app.zoo.experiment import BUNDLED, find, load


def edit(folder: Path, pattern: str, replacement: str) -> None:
    """Replace the one place in config.py that ``pattern`` finds; what is after the test block's start counts."""
    source = (folder / "config.py").read_text()
    head, mark, tail = source.partition("    test=dict(")
    changed, count = re.subn(pattern, replacement, tail, flags=re.S)
    if not count:
        changed, count = re.subn(pattern, replacement, head, flags=re.S)
        head, changed = changed, tail
    assert count == 1, (pattern, count)
    (folder / "config.py").write_text(head + mark + changed)


def append(folder: Path, text: str) -> None:
    with (folder / "config.py").open("a") as file:
        file.write("\n" + text)


def refused(folder: Path) -> str:
    with pytest.raises(BadModel) as caught:
        load(folder)
    return caught.value.detail


def test_an_experiment_of_pointcept(golden):
    experiment = load(golden)
    procedure = experiment.procedure
    assert experiment.name == golden.name
    assert experiment.checkpoint == golden / "model" / "model_best.pth"
    assert experiment.model["type"] == "DefaultSegmentor"
    assert experiment.dataset == "ScanNetDataset"
    assert experiment.task == "semantic segmentation"
    assert experiment.feat_keys == ("color", "normal")
    assert experiment.grid_size_m == 0.02
    assert experiment.condition is None
    assert experiment.ignore_label == -1
    assert [step["type"] for step in procedure.transform] == ["CenterShift", "NormalizeColor"]
    assert procedure.voxelize["mode"] == "test"
    assert [step["type"] for step in procedure.post_transform] == ["CenterShift", "ToTensor", "Collect"]
    assert [len(view) for view in procedure.aug_transform] == [1, 2]
    assert experiment.classes[0] == ClassInfo(0, "wall", (174, 199, 232), None)
    assert len(experiment.classes) == 20


@pytest.mark.parametrize(
    ("stated", "name", "grid_size_m"),
    [("'us-ft'", "US survey foot", 0.02 * 1200 / 3937), ("'metre'", "metre", 0.02), ("0.3048", "foot", 0.02 * 0.3048)],
)
def test_a_unit_of_the_model(folder, stated, name, grid_size_m):
    assert load(folder).procedure.unit.name == "metre"
    edit(folder, r"num_classes=20,\n    ignore_index", f"num_classes=20,\n    unit={stated},\n    ignore_index")
    experiment = load(folder)
    assert experiment.procedure.unit.name == name
    assert experiment.grid_size_m == pytest.approx(grid_size_m)


@pytest.mark.parametrize("stated", ["'furlong'", "'deg'", "0", "-1", "[1]", "'m,m,m'"])
def test_a_unit_that_is_none(folder, stated):
    edit(folder, r"num_classes=20,\n    ignore_index", f"num_classes=20,\n    unit={stated},\n    ignore_index")
    assert "data.unit" in refused(folder)


def stating_heights(folder, stated):
    edit(
        folder,
        r"num_classes=20,\n    ignore_index",
        f"num_classes=20,\n    vegetation_heights={stated},\n    ignore_index",
    )


def test_heights_of_vegetation_that_the_model_states(folder):
    assert load(folder).procedure.vegetation_heights_m == ()
    stating_heights(folder, "(0.5, 2)")
    experiment = load(folder)
    assert experiment.procedure.vegetation_heights_m == (0.5, 2.0)
    assert experiment.card()["vegetation_heights_m"] == [0.5, 2.0]


@pytest.mark.parametrize("stated", ["0.5", "(0.5,)", "(2, 0.5)", "('low', 'high')", "(True, 2)", "(0.5, 1, 2)"])
def test_heights_of_vegetation_that_are_none(folder, stated):
    stating_heights(folder, stated)
    assert "data.vegetation_heights" in refused(folder)


def test_the_card_has_the_fields_of_the_protocol(golden):
    card = load(golden).card(7, reason="because")
    of_the_engine = {
        "precision",
        "memory_bytes",
        "bytes_per_voxel",
        "fields",
        "shares_passes",
        "is_unloaded",
        "is_refused",
        "columns",
        "halo_m",
        "num_features",
        "tile_voxels",
        "remarks",
    }
    assert list(card) == [field.name for field in fields(ModelCard) if field.name not in of_the_engine]
    assert ModelCard(**card).backbone == "SpUNet-v1m1"
    assert (card["num_parameters"], card["served"], card["reason"]) == (7, False, "because")
    assert card["classes"][0] == {"id": 0, "name": "wall", "color": [174, 199, 232], "asprs": None}


def test_an_empty_test_block_gives_way_to_validation(folder):
    append(folder, "data = dict(data, test=dict())")
    procedure = load(folder).procedure
    assert [step["type"] for step in procedure.transform] == ["CenterShift", "Copy"]
    assert procedure.voxelize == {
        "type": "GridSample",
        "grid_size": 0.02,
        "hash_type": "fnv",
        "mode": "test",
        "return_grid_coord": True,
    }
    assert [step["type"] for step in procedure.post_transform] == [
        "CenterShift",
        "NormalizeColor",
        "ToTensor",
        "Collect",
    ]
    assert procedure.aug_transform == []


def test_a_test_block_without_test_cfg_is_cut_at_its_grid_sample(folder):
    append(folder, "data = dict(data, test=dict(data['val'], type='S3DISDataset'))")
    experiment = load(folder)
    assert experiment.dataset == "S3DISDataset"
    assert [step["type"] for step in experiment.procedure.transform] == ["CenterShift", "Copy"]


def test_names_colors_codes_and_title_of_the_config_come_first(folder):
    append(
        folder,
        "model = dict(model, backbone=dict(model['backbone'], num_classes=2))\n"
        "data = dict(data, num_classes=2, names=('ground', 'water'), colors=[(1, 2, 3), [4, 5, 6]], asprs=[2, None],\n"
        "            title='Lakes', ignore_index=255)",
    )
    experiment = load(folder)
    assert experiment.classes == [ClassInfo(0, "ground", (1, 2, 3), 2), ClassInfo(1, "water", (4, 5, 6), None)]
    assert experiment.dataset == "Lakes"
    assert experiment.ignore_label == 255


def test_names_come_from_the_dataset_or_are_numbered(folder):
    append(folder, "data = dict(data, names=None)")
    assert load(folder).classes[1].name == "floor"
    append(folder, "data = dict(data, test=dict(data['test'], type='DefaultDataset'))")
    assert load(folder).classes[1].name == "class 1"


def test_the_number_of_classes_may_come_from_the_head_alone(folder):
    append(folder, "data = dict(data, names=None, num_classes=None)")
    assert len(load(folder).classes) == 20


def test_an_ignored_class_leaves_minus_one_for_unusable_points(folder):
    append(folder, "data = dict(data, ignore_index=0)")
    assert load(folder).ignore_label == -1


@pytest.mark.parametrize("step", ["dict(type='Add', keys_dict=dict(condition='ScanNet'))"])
def test_the_condition_comes_from_transforms_or_the_dataset(folder, step):
    edit(folder, r"dict\(type='NormalizeColor'\)", step)
    assert load(folder).condition == "ScanNet"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("model = 5", "model is 5"),
        ("model = None", "model is missing"),
        ("data = None", "data.val is missing"),
        ("data = dict(data, num_classes=19)", "data.num_classes 19"),
        ("data = dict(data, num_classes='20')", "data.num_classes is '20'"),
        ("data = dict(data, num_classes=0)", "data.num_classes 0"),
        ("data = dict(data, names=data['names'][:19])", "the length of data.names 19"),
        ("data = dict(data, names=['x'] * 19 + [5])", "data.names"),
        ("data = dict(data, names=dict(a=1))", "data.names"),
        ("data = dict(data, num_classes=10**9, names=None)", "data.num_classes 1000000000"),
        ("data = dict(data, ignore_index='none')", "data.ignore_index"),
        ("data = dict(data, colors=[(1, 2, 3)])", "data.colors"),
        ("data = dict(data, colors=[(1, 2, 256)] * 20)", "data.colors"),
        ("data = dict(data, asprs=[2] * 19 + [-1])", "data.asprs"),
        ("data = dict(data, title=5)", "data.title"),
        ("data = dict(data, test=5)", "data.test is 5"),
        ("data = dict(data, test=dict(), val=None)", "data.val is missing"),
        ("data = dict(data, test=dict(), val=dict(transform=[]))", "no GridSample"),
        ("data = dict(data, test=dict(data['test'], transform=None))", "data.test.transform is missing"),
        ("data = dict(data, test=dict(data['test'], transform=[5]))", "data.test.transform holds 5"),
        ("data = dict(data, test=dict(data['test'], transform=[dict(p=1)]))", "data.test.transform holds"),
        ("data = dict(data, test=dict(data['test'], test_cfg=None))", "data.test.test_cfg.voxelize is missing"),
        ("model = dict(model, backbone=dict(model['backbone'], in_channels=4))", "model.backbone.in_channels is 4"),
        ("model = dict(model, num_classes=13)", "model.num_classes 13"),
    ],
)
def test_keys_that_miss_or_contradict_are_named(folder, line, found):
    append(folder, line)
    message = refused(folder)
    assert found in message
    assert ";" in message


@pytest.mark.parametrize(
    ("pattern", "replacement", "found"),
    [
        ("crop=None", "crop=dict(type='SphereCrop', mode='all')", "test_cfg.crop is not served"),
        ("grid_size=0.02", "grid_size=0", "test_cfg.voxelize"),
        ("grid_size=0.02", "grid_size=-1.0", "test_cfg.voxelize"),
        ("grid_size=0.02", "grid_size=1e999", "test_cfg.voxelize"),
        ("grid_size=0.02", "grid_size=[1, 2]", "test_cfg.voxelize"),
        ("grid_size=0.02,", "", "test_cfg.voxelize"),
        ("type='GridSample'", "type='Voxelize'", "test_cfg.voxelize"),
        ("type='Collect'", "type='Gather'", "names no features"),
        (r"feat_keys=\('color', 'normal'\)", "feat_keys=()", "names no features"),
        (r"feat_keys=\('color', 'normal'\)", "feat_keys=(1, 2)", "names no features"),
        (r"aug_transform=\[\[", "aug_transform=[5, [", "test_cfg.aug_transform holds 5"),
    ],
)
def test_steps_that_cannot_serve_are_named(folder, pattern, replacement, found):
    edit(folder, pattern, replacement)
    assert found in refused(folder)


def test_one_grid_size_for_each_axis(folder):
    edit(folder, "grid_size=0.02", "grid_size=(0.1, 0.1, 0.2)")
    experiment = load(folder)
    assert experiment.grid_size_m is None
    assert experiment.procedure.voxelize["grid_size"] == (0.1, 0.1, 0.2)


def test_where_weights_are_looked_for(folder):
    best = folder / "model" / "model_best.pth"
    places = ["other.pth", "model/model_last.pth", "model/model_best.safetensors", "model/model_best.pth"]
    best.rename(folder / places[0])
    for place in places[1:]:
        assert load(folder).checkpoint.name == places[places.index(place) - 1].split("/")[-1]
        (folder / place).touch()
    assert load(folder).checkpoint == best


def test_no_weights_or_too_many_are_refused(folder):
    (folder / "model" / "model_best.pth").unlink()
    assert "no weights" in refused(folder)
    (folder / "a.pth").touch()
    (folder / "b.safetensors").touch()
    assert "a.pth, b.safetensors" in refused(folder)


def test_a_folder_without_a_config_is_refused(tmp_path):
    assert "config.py" in refused(tmp_path)
    assert "config.py" in refused(tmp_path / "absent")


def test_a_setting_names_a_folder_several_or_a_parent(tmp_path):
    for name in ("scannet/b", "scannet/a", "s3dis/c"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.py").touch()
    scannet = tmp_path / "scannet"
    assert find(str(scannet / "b")) == [scannet / "b"]
    assert find(str(scannet)) == [scannet / "a", scannet / "b"]
    assert find(f"{tmp_path / 's3dis'}:{scannet}:{scannet / 'a'}") == [
        tmp_path / "s3dis" / "c",
        scannet / "a",
        scannet / "b",
    ]
    assert find(str(tmp_path)) == [tmp_path / "s3dis" / "c", scannet / "a", scannet / "b"]


def test_a_relative_setting_and_an_empty_one(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(folder)
    assert find(".") == [folder]
    if list(BUNDLED.glob("*/config.py")):
        assert all(path.parent == BUNDLED for path in find(""))


def test_a_setting_without_experiments_is_refused(tmp_path):
    for setting in (str(tmp_path), str(tmp_path / "absent"), f"{tmp_path}:"):
        with pytest.raises(BadModel, match="no experiment at"):
            find(setting)


OLD_VOXELS = (
    "Voxelize', voxel_size=0.02, hash_type='fnv', mode='train', keys=('coord', 'color'), return_discrete_coord=True"
)


@pytest.mark.parametrize("name", ["test_cfg=dict(voxelize=", "transform=["])
def test_the_old_name_of_grid_sampling_is_told_with_what_to_write(folder, name):
    step = f"dict(type='{OLD_VOXELS})"
    where = f"dict({name}{step}, post_transform=[]), transform=[])" if "cfg" in name else f"dict({name}{step}])"
    append(folder, f"data = dict(data, test={where})")
    with pytest.raises(BadModel) as caught:
        load(folder)
    written = re.search(r"write (dict\(.*?return_grid_coord=True\))", caught.value.detail).group(1)
    assert eval(written) == {
        "type": "GridSample",
        "grid_size": 0.02,
        "hash_type": "fnv",
        "mode": "train",
        "keys": ("coord", "color"),
        "return_grid_coord": True,
    }
    assert "in Collect grid_coord for discrete_coord" in caught.value.detail


def test_the_advice_for_an_old_name_repeats_what_the_config_says(folder):
    edit(folder, "type='GridSample'", "type='Voxelize'")
    message = refused(folder)
    assert "grid_size=0.02," in message
    assert "c / 127.5 - 1" in message
    step = "dict(type='Voxelize', grid_size=(0.1, 0.1, 0.2), hash_type='ravel', return_inverse=True)"
    append(folder, f"data = dict(data, test=dict(transform=[{step}]))")
    written = eval(re.search(r"write (dict\(.*?return_grid_coord=True\))", refused(folder)).group(1))
    assert written["grid_size"] == (0.1, 0.1, 0.2)
    assert written["hash_type"] == "ravel"
    assert written["return_inverse"]


def test_old_names_among_what_is_collected_are_told(folder):
    config = folder / "config.py"
    config.write_text(config.read_text().replace("'grid_coord'", "'discrete_coord'"))
    with pytest.raises(BadModel, match="write grid_coord for discrete_coord"):
        load(folder)


@pytest.mark.parametrize("name", ["last.ckpt", "weights.pt", "pytorch_model.bin"])
def test_weights_beside_the_config_may_be_called_as_other_trainers_do(folder, name):
    (folder / "model" / "model_best.pth").rename(folder / name)
    assert load(folder).checkpoint == folder / name
    (folder / "own.pth").write_bytes(b"")
    assert load(folder).checkpoint == folder / "own.pth"
