import json
import shutil

import torch

from tests.cli.cli_samples import EXPERIMENT, ROOT


def test_list(pointserve):
    done = pointserve("models", "list", "--models", EXPERIMENT.parent)
    assert done.returncode == 0
    assert EXPERIMENT.name in done.stdout
    assert "SpUNet-v1m1" in done.stdout
    (card,) = json.loads(pointserve("models", "list", "--models", EXPERIMENT, "--json").stdout)
    assert card["num_classes"] == 20
    assert card["served"]


def test_list_fits_into_80_columns_with_whole_names(pointserve):
    done = pointserve("models", "list", COLUMNS="80")
    assert done.stdout.splitlines() == [
        "aerial-semseg-spunet-v1m1",
        "  SpUNet-v1m1, 6 classes, voxels of 0.5 m",
        "  reads occupancy, offset, height, returns, relief, support, roughness",
        f"  weights: not checked; pointserve models check {ROOT / 'app/bundled/aerial-semseg-spunet-v1m1'}",
    ]


def test_list_shows_why_one_is_refused(pointserve, tmp_path):
    shutil.copytree(EXPERIMENT, tmp_path / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/config.py").write_text("import os\n")
    done = pointserve("models", "list", "--models", tmp_path)
    assert done.returncode == 0
    assert "SpUNet-v1m1" in done.stdout
    assert "import" in done.stdout


def test_list_says_which_weights_name_what_runs_code(pointserve, tmp_path):
    shutil.copytree(EXPERIMENT, tmp_path / "a:b")
    path = tmp_path / "a:b/model/model_best.pth"
    torch.save(torch.load(path, weights_only=False) | {"hook": eval}, path)
    done = pointserve("models", "list", "--models", tmp_path / "a:b")
    assert "cannot be served: model_best.pth: the file names builtins.eval" in done.stdout
    done = pointserve("models", "list", "--models", tmp_path / "a:b", POINTSERVE_PERMITTED_NAMES="builtins.eval")
    assert "cannot be served" not in done.stdout


def test_check_says_what_the_folder_is_where_it_is_no_experiment(pointserve, tmp_path):
    (tmp_path / "exp/one").mkdir(parents=True)
    (tmp_path / "exp/one/config.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    for path, said in (
        ("/nope", "/nope does not exist"),
        (tmp_path, f"{tmp_path} holds no config.py; name an experiment below it: exp/one"),
        (tmp_path / "notes.txt", "is a file"),
    ):
        done = pointserve("models", "check", path)
        assert done.returncode == 1
        assert said in done.stdout


def test_check(pointserve, tmp_path):
    done = pointserve("models", "check", EXPERIMENT)
    assert done.returncode == 0
    assert "can be served" in done.stdout
    broken = tmp_path / "broken"
    shutil.copytree(EXPERIMENT, broken)
    weights = broken / "model/model_best.pth"
    weights.write_bytes(weights.read_bytes()[:1000])
    done = pointserve("models", "check", broken)
    assert done.returncode == 1
    assert "refused" in done.stdout
    report = json.loads(pointserve("models", "check", broken, "--json").stdout)
    assert not report["served"]
    assert not report["findings"][-1]["ok"]
