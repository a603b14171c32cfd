import json
import shutil

import numpy as np
import pytest

from tests.cli.cli_samples import EXPERIMENT, ROOT

TINY = ROOT / "tests/golden/spunet_v1m1_tiny"


def test_a_golden_is_met(pointserve):
    done = pointserve("verify", "tests/golden", "--only", "*_tiny", "--only", "nothing*", "--json")
    assert done.returncode == 0, done.stdout
    (case,) = json.loads(done.stdout)
    assert case["name"] == "spunet_v1m1_tiny"
    assert case["verdict"] == "pass"
    assert case["max_abs_diff"] <= case["tolerance"]


def test_a_long_name_fits_into_80_columns(pointserve):
    done = pointserve("verify", EXPERIMENT, COLUMNS="80")
    assert done.returncode == 0, done.stdout
    assert f"{EXPERIMENT.name} " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("option", "accepted"), [("precision", "fp32, upstream, fp16, bf16"), ("backend", "auto, native")]
)
def test_a_wrong_option_names_what_is_accepted(pointserve, option, accepted):
    done = pointserve("verify", TINY, f"--{option}", "wrong")
    assert done.returncode == 1
    assert f"{option} is 'wrong'; accepted are {accepted}" in done.stderr


def test_a_miss_ends_with_1(pointserve, tmp_path):
    copy = tmp_path / "tiny"
    shutil.copytree(TINY, copy)
    output = dict(np.load(copy / "output.npz"))
    name = "logits_f32" if "logits_f32" in output else "logits"
    output[name][0, 0] += 0.01
    np.savez(copy / "output.npz", **output)
    done = pointserve("verify", tmp_path)
    assert done.returncode == 1
    assert "0 pass, 1 fail" in done.stdout
    assert "1.0e-02" in done.stdout


def test_what_is_not_served_proves_nothing(pointserve, tmp_path):
    copy = tmp_path / "tiny"
    shutil.copytree(TINY, copy)
    config = json.loads((copy / "config.json").read_text())
    config["model"]["backbone"]["type"] = "NoSuchNet"
    (copy / "config.json").write_text(json.dumps(config))
    done = pointserve("verify", tmp_path)
    assert done.returncode == 1
    assert "NoSuchNet" in done.stdout
