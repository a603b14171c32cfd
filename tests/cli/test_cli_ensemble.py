"""``--model a+b`` of commands."""

import shutil

import laspy
import numpy as np
import pytest

from tests.cli.cli_samples import EXPERIMENT


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    for name in ("a", "b"):
        shutil.copytree(EXPERIMENT, root / name)
    return root


def test_predict_and_batch_take_several_models_as_one(pointserve, tile, models, tmp_path):
    given = ("--models", models, "--device", "cpu", "--threads", 1)
    labels = []
    for name in ("a", "a+b"):
        done = pointserve("predict", tile, "-o", tmp_path / f"{name}.laz", *given, "--model", name)
        assert done.returncode == 0, done.stderr
        labels.append(np.asarray(laspy.read(tmp_path / f"{name}.laz").classification))
    assert (labels[0] == labels[1]).mean() > 0.999  # equal weights
    done = pointserve("predict", tile, "-o", tmp_path / "out.laz", *given, "--model", "a+c")
    assert done.returncode != 0
    assert "There is no model 'c'; there are a, b." in done.stderr.replace("\n", " ")
    done = pointserve("batch", tile, "-o", tmp_path / "out", *given, "--model", "a+b", "--buffer", 8)
    assert done.returncode == 0, done.stderr
    (answer,) = (tmp_path / "out").glob("*.laz")
    np.testing.assert_array_equal(np.asarray(laspy.read(answer).classification), labels[1])
    done = pointserve("batch", tile, "-o", tmp_path / "out", *given, "--model", "a+b", "--buffer", 8, "--dry-run")
    assert "0 of 1 tiles are to be labelled by a+b" in done.stdout.replace("\n", " ")
