import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pointgroup_ops
import pointops
import pytest
import sparseops
import torch
from safetensors.torch import load_file, save_file

from app.errors import BadRequest
from app.verify import verify

GOLDEN = Path(__file__).parent / "golden"
EXPERIMENT = "scannet-semseg-spunet-v1m1-0-base"


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    torch.set_num_threads(1)


def copy_of(name, tmp_path):
    return Path(shutil.copytree(GOLDEN / name, tmp_path / Path(name).name))


def edit_config(case, **changes):
    path = case / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_the_committed_goldens_pass():
    results = list(verify(GOLDEN))
    assert {"spunet_v1m1_tiny", "transforms", EXPERIMENT} <= {result.name for result in results}
    assert {result.name: result.verdict for result in results if result.verdict == "fail"} == {}
    served = [result for result in results if result.verdict == "pass"]
    assert all(result.max_abs_diff <= result.tolerance for result in served)
    assert {result.kind for result in served} >= {"network", "experiment", "transforms", "operation"}


def test_the_experiment_meets_its_fast_labels():
    (result,) = verify(GOLDEN / "experiments" / EXPERIMENT)
    assert (result.kind, result.verdict) == ("experiment", "pass")
    assert result.argmax_agreement >= 0.999


def test_only_chooses_by_pattern():
    assert [result.name for result in verify(GOLDEN, only=("spunet*tiny", "transf*"))] == [
        "spunet_v1m1_tiny",
        "transforms",
    ]
    with pytest.raises(BadRequest, match=r"nothing\*"):
        verify(GOLDEN, only=("nothing*",))


def test_a_folder_without_cases_is_refused(tmp_path):
    with pytest.raises(BadRequest, match="no cases"):
        verify(tmp_path)


def test_other_weights_fail(tmp_path):
    case = copy_of("spunet_v1m1_tiny", tmp_path)
    weights = load_file(case / "weights.safetensors")
    weights["backbone.final.bias"] += 0.01
    save_file(weights, case / "weights.safetensors")
    (result,) = verify(case)
    assert result.verdict == "fail"
    assert result.max_abs_diff > result.tolerance


def test_weights_of_another_shape_fail_with_the_reason(tmp_path):
    case = copy_of("spunet_v1m1_tiny", tmp_path)
    weights = load_file(case / "weights.safetensors")
    weights.popitem()
    save_file(weights, case / "weights.safetensors")
    (result,) = verify(case)
    assert result.verdict == "fail"
    assert "missing" in result.detail


def test_an_answer_with_nan_fails(tmp_path):
    case = copy_of("spunet_v1m1_tiny", tmp_path)
    weights = load_file(case / "weights.safetensors")
    spoilt = {name: value * torch.nan if value.is_floating_point() else value for name, value in weights.items()}
    save_file(spoilt, case / "weights.safetensors")
    (result,) = verify(case)
    assert result.verdict == "fail"


def test_a_changed_transform_output_fails_by_name(tmp_path):
    case = copy_of("transforms", tmp_path)
    with np.load(case / "output.npz") as archive:
        outputs = dict(archive)
    outputs["g05_inverse"][0] += 1
    outputs["g02_fragments"][0, :2] = outputs["g02_fragments"][0, 1::-1]
    np.savez(case / "output.npz", **outputs)
    (result,) = verify(case)
    assert result.verdict == "fail"
    assert "g05_inverse" in result.detail
    assert "g02_fragments" in result.detail


OPERATIONS = [*sorted(path.name for path in GOLDEN.glob("op_*")), "attention_padding", "serialization"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_pass_without_the_compiled_operators_too(name, monkeypatch):
    (compiled,) = verify(GOLDEN / name)
    for library in (pointgroup_ops, pointops, sparseops):
        monkeypatch.setattr(library.extension, "ARCHITECTURES", ())
    (reference,) = verify(GOLDEN / name)
    assert (compiled.kind, compiled.verdict, compiled.detail) == ("operation", "pass", "")
    assert (reference.kind, reference.verdict, reference.detail) == ("operation", "pass", "")


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("attention_padding", "cu_seqlens_4"),
        ("op_ball_query", "new_dist"),
        ("op_ballquery_bfs_cluster", "cluster_offsets"),
        ("op_farthest_point_sampling", "idx"),
        ("op_interpolation", "k4"),
        ("serialization", "hilbert-trans_16"),
    ],
)
def test_a_changed_answer_of_an_operation_fails_by_name(name, output, tmp_path):
    case = copy_of(name, tmp_path)
    with np.load(case / "output.npz") as archive:
        outputs = dict(archive)
    outputs[output] += outputs[output].dtype.type(1)
    np.savez(case / "output.npz", **outputs)
    (result,) = verify(case)
    assert (result.verdict, result.detail) == ("fail", f"different: {output}")


def test_an_answer_that_nothing_gives_fails(tmp_path):
    case = copy_of("op_subtraction", tmp_path)
    with np.load(case / "output.npz") as archive:
        outputs = dict(archive)
    np.savez(case / "output.npz", **outputs, more=np.zeros(3))
    (result,) = verify(case)
    assert (result.verdict, result.detail) == ("fail", "different: more")


def test_an_operation_of_a_library_that_is_absent_is_not_served(monkeypatch):
    monkeypatch.setitem(sys.modules, "pointgroup_ops", None)
    monkeypatch.delitem(sys.modules, "app.operators.pointgroup_ops", raising=False)
    (result,) = verify(GOLDEN / "op_ballquery_bfs_cluster")
    assert (result.verdict, result.detail) == ("not served", "pointgroup_ops is not installed")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model": {"type": "DefaultSegmentor", "backbone": {"type": "Swin3D-v1m1"}}}, "Swin3D-v1m1"),
        ({"op": "op_voxel_query"}, "op_voxel_query"),
        ({"legacy": True}, "old Pointcept"),
    ],
)
def test_what_is_not_served_yet_is_no_failure(tmp_path, changes, reason):
    case = copy_of("spunet_v1m1_tiny", tmp_path)
    edit_config(case, **changes)
    (result,) = verify(case)
    assert result.verdict == "not served"
    assert reason in result.detail


def test_a_case_with_a_file_missing_fails(tmp_path):
    case = copy_of("spunet_v1m1_tiny", tmp_path)
    (case / "output.npz").unlink()
    (result,) = verify(case)
    assert result.verdict == "fail"
    assert "output.npz" in result.detail


@pytest.mark.parametrize("name", ["input.npz", "weights.safetensors", "config.json"])
def test_damaged_case_fails_alone(tmp_path, name):
    for case in ("a", "b"):
        shutil.copytree(GOLDEN / "spunet_v1m1_tiny", tmp_path / case)
    (tmp_path / "a" / name).write_bytes(b"PK\x03\x04 cut short")
    assert [result.verdict for result in verify(tmp_path)] == ["fail", "pass"]
