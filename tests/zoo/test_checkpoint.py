import re
import struct
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from app.errors import BadModel
from app.zoo.checkpoint import open_checkpoint, read
from tests.pickles.checkpoint_samples import Storage, Tensor, pickled, write_state


def refused(path) -> str:
    with pytest.raises(BadModel) as caught:
        read(path)
    assert path.name in caught.value.detail
    return caught.value.detail


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))


def assert_same(weights, expected):
    assert list(weights) == list(expected)
    for name, tensor in expected.items():
        assert weights[name].dtype == tensor.dtype
        assert torch.equal(weights[name], tensor)


def trained(optimizer_kind=torch.optim.AdamW) -> dict:
    """A checkpoint with all that a trainer saves, after one step."""
    model = network()
    optimizer = optimizer_kind(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=10)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    scaler.scale(model(torch.rand(4, 3)).sum()).backward()
    scaler.step(optimizer)
    scheduler.step()
    return {
        "epoch": 3,
        "state_dict": OrderedDict((f"module.{name}", tensor) for name, tensor in model.state_dict().items()),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "scaler": scaler.state_dict(),
        "best_metric_value": np.float64(0.7),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_reads_what_a_trainer_saves(tmp_path, zipped, protocol, kind):
    checkpoint = trained(kind)
    path = tmp_path / "model_best.pth"
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    expected = {name.removeprefix("module."): tensor for name, tensor in checkpoint["state_dict"].items()}
    assert_same(read(path), expected)


def test_reads_a_checkpoint_of_pointcept(golden):
    path = golden / "model" / "model_best.pth"
    expected = torch.load(path, map_location="cpu", weights_only=False)["state_dict"]
    assert_same(read(path), {name.removeprefix("module."): tensor for name, tensor in expected.items()})


def test_values_that_are_not_needed_are_named_and_stay_inert(tmp_path):
    torch.save(trained() | {"hooks": {1, 2}, "type": nn.Linear, "shape": torch.Size([3])}, tmp_path / "a.pth")
    ignored = open_checkpoint(tmp_path / "a.pth").ignored
    assert {"torch.Size", "torch.nn.modules.linear.Linear"} <= set(ignored)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_reads_a_bare_state_dict_of_parameters_views_and_shared_storages(tmp_path, zipped):
    base = torch.arange(24.0)
    state = {
        "transposed": base.view(4, 6).t(),
        "tail": base[20:],
        "tied": base,
        "parameter": nn.Parameter(torch.ones(2)),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 3),
        "flags": torch.tensor([True, False]),
    }
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert_same(read(tmp_path / "a.pth"), state)


def test_floats_of_every_width_become_float32(tmp_path):
    kinds = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    state = {str(kind): torch.tensor([0.5, -2.0], dtype=kind) for kind in kinds}
    torch.save(state, tmp_path / "a.pth")
    assert_same(read(tmp_path / "a.pth"), {name: torch.tensor([0.5, -2.0]) for name in state})


def test_reads_safetensors(tmp_path):
    state = {"a": torch.rand(2, 3), "b": torch.tensor([1, 2])}
    safetensors.torch.save_file(state | {"half": torch.ones(2).half()}, tmp_path / "a.safetensors")
    assert_same(dict(sorted(read(tmp_path / "a.safetensors").items())), state | {"half": torch.ones(2)})


def test_reads_big_endian_records(tmp_path):
    state = {"weight": Tensor(Storage(3), (3,), (1,))}
    data = np.array([1.5, -2, 3], ">f4").tobytes()
    path = write_state(tmp_path / "a.pth", state, data, byteorder=b"big")
    assert_same(read(path), {"weight": torch.tensor([1.5, -2, 3])})


def test_prefixes_are_taken_off_unless_names_collide(tmp_path):
    torch.save({"module.a": torch.ones(1), "b": torch.zeros(1)}, tmp_path / "a.pth")
    assert list(read(tmp_path / "a.pth")) == ["a", "b"]
    torch.save({"module.a": torch.ones(1), "a": torch.zeros(1)}, tmp_path / "b.pth")
    assert "module.a and a are one name" in refused(tmp_path / "b.pth")


@pytest.mark.parametrize(
    ("tensor", "found"),
    [
        (torch.tensor([1.0, float("nan")]), "NaN"),
        (torch.tensor([1.0, float("-inf")]), "infinity"),
        (torch.tensor([1e300], dtype=torch.float64), "infinity"),
        (torch.tensor([1 + 2j]), "complex64"),
        (torch.ones(2).to(torch.float8_e4m3fn), "norm.running_var is not a dense tensor"),
        (torch.eye(3).to_sparse(), "norm.running_var is not a dense tensor"),
        (torch.tensor([0.5, -0.5]), "negative variance"),
        (np.ones(3), "norm.running_var is not a dense tensor"),
        ([1.0], "norm.running_var is not a dense tensor"),
        (3, "norm.running_var is not a dense tensor"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_weights_that_no_network_should_be_given_are_refused_by_name(tmp_path, tensor, found):
    torch.save({"state_dict": {"ok": torch.ones(1), "norm.running_var": tensor}}, tmp_path / "a.pth")
    message = refused(tmp_path / "a.pth")
    assert "norm.running_var" in message
    assert found in message


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ([torch.ones(1)], "list"),
        (torch.ones(1), "one array"),
        (nn.Linear(2, 2), "an object of torch.nn.modules.linear.Linear"),
        ({"epoch": 1, "model": nn.Linear(2, 2)}, "save torch.save({'state_dict': network.state_dict()}, path)"),
        ({"coord": torch.ones(4, 3), "color": torch.ones(4, 3)}, "a point cloud as Pointcept stores it (coord, color)"),
        ({"coord": np.ones((4, 3)), "segment": np.ones(4)}, "pointserve predict"),
        ({"first": {"a": torch.ones(1)}, "second": {"a": torch.ones(1)}}, "no state_dict among first, second"),
        ({"ema": {"a": torch.ones(1)}, "teacher": {"a": torch.ones(1)}}, "no state_dict among ema, teacher"),
        ({}, "empty"),
        ({"state_dict": {}}, "empty"),
        ({"state_dict": [1]}, "not a dict"),
        ({"epoch": 3, "optimizer": {}}, "no state_dict among epoch, optimizer"),
        ({"state_dict": {1: torch.ones(1)}}, "int"),
        ({"state_dict": {(1, 2): torch.ones(1)}}, "names must be strings"),
        ({"epoch": 3, "a": torch.ones(1)}, "epoch is not a dense tensor"),
    ],
)
def test_files_without_a_state_dict_are_refused(tmp_path, value, found):
    torch.save(value, tmp_path / "a.pth")
    assert found in refused(tmp_path / "a.pth")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4665a5\nsize 12345\n"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "empty"),
        (LFS, "git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"PK\x03\x04" + bytes(100), "cut short"),
        (pickled({"a": 1}), "accepted are files of torch.save"),
        (bytes(1000), "accepted are files of torch.save"),
        (safetensors.torch.save({"a": torch.ones(2)}), "ends in .safetensors"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (b"LASF" + bytes(300), "a point cloud"),
        (b"ply\nformat ascii 1.0\n", "a point cloud"),
        (b"\x1f\x8b\x08" + bytes(100), "unpack it first"),
        (b'{"error": "Repository not found"}', "JSON"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "a PNG image"),
        (b"\x93NUMPY\x01\x00" + bytes(100), "array of numpy"),
    ],
)
def test_files_that_are_something_else_are_refused(tmp_path, data, found):
    (tmp_path / "a.pth").write_bytes(data)
    assert found in refused(tmp_path / "a.pth")


@pytest.mark.parametrize("data", [b"", LFS, b"\xff" * 100, struct.pack("<Q", 1 << 60) + b"{}", b"{" * 20])
def test_broken_safetensors_are_refused(tmp_path, data):
    (tmp_path / "a.safetensors").write_bytes(data)
    assert refused(tmp_path / "a.safetensors")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_truncated_files_are_refused_at_every_length(tmp_path, zipped):
    torch.save(trained(), tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
    data = (tmp_path / "whole.pth").read_bytes()
    for length in range(0, len(data), 97):
        (tmp_path / "cut.pth").write_bytes(data[:length])
        refused(tmp_path / "cut.pth")


@pytest.mark.slow
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_flipped_bytes_are_refused_or_harmless(tmp_path, zipped):
    torch.save(trained(), tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
    data = (tmp_path / "whole.pth").read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(400):
        broken = bytearray(data)
        for position in rng.integers(0, len(data), rng.integers(1, 4)):
            broken[position] = rng.integers(256)
        (tmp_path / "broken.pth").write_bytes(broken)
        try:
            weights = read(tmp_path / "broken.pth")
            outcomes.add("read")
            assert all(torch.isfinite(tensor).all() for tensor in weights.values())
        except BadModel:
            outcomes.add("refused")
    assert "refused" in outcomes


def test_a_npz_and_a_pth_under_other_names_are_told_for_what_they_are(tmp_path):
    with (tmp_path / "a.pth").open("wb") as file:
        np.savez(file, coord=np.ones((4, 3)))
    assert "this is an NPZ file of arrays" in refused(tmp_path / "a.pth")
    torch.save({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    assert "give it a name that ends in .pth" in refused(tmp_path / "a.safetensors")


def test_no_message_is_in_the_words_of_a_library(tmp_path):
    whole = tmp_path / "whole.pth"
    torch.save(trained(), whole)
    data = whole.read_bytes()
    header = safetensors.torch.save({"a": torch.ones(64)})
    files = {f"{size}.pth": data[:size] for size in (1, 4, 30, 300, 3000, len(data) - 30, len(data) - 1)}
    files |= {f"{size}.safetensors": header[:size] for size in (1, 8, 20, 80, len(header) - 1)}
    files |= {"middle.pth": data[:500] + bytes(50) + data[550:], "text.pth": b"weights", "list.pth": b"\x80\x02]q\x00."}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        message = refused(tmp_path / name)
        assert not re.search(r"Error\b|Errno|Bad ?(magic|CRC)|zip file|deserializ|unpack|pickle data|0x", message), (
            message
        )


def test_a_file_that_may_not_be_read_is_told_in_words(tmp_path):
    with pytest.raises(BadModel, match=r"a\.pth: the file cannot be read: No such file or directory"):
        read(tmp_path / "a.pth")


def test_a_tensor_with_an_attribute_is_a_tensor(tmp_path):
    marked, parameter = torch.arange(3.0), nn.Parameter(torch.arange(4.0))
    marked.is_frozen = parameter.tag = True
    torch.save({"state_dict": {"a": marked, "b": parameter}}, tmp_path / "a.pth")
    assert_same(read(tmp_path / "a.pth"), {"a": torch.arange(3.0), "b": torch.arange(4.0)})
