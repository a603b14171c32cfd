"""What becomes of weights whose file names what runs code."""

import argparse
import collections
import datetime
import functools
import os
import pathlib
import pickle
import subprocess
import uuid
import zipfile
from enum import Enum

import numpy as np
import pytest
import torch

from app.errors import BadModel
from app.settings import ModelSettings
from app.zoo.check import check
from app.zoo.checkpoint import open_checkpoint
from app.zoo.loading import load_model
from tests.pickles.checkpoint_samples import Calls, pickled, write_zip


class Task(Enum):
    """Of a user's own."""

    SEMANTIC = "semantic"


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
def test_what_trainers_store_beside_weights_is_no_reason_to_refuse(tmp_path, protocol, zipped):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
    extra = {
        "scheduler": scheduler.__dict__ | {"optimizer": None},
        "optimizer": optimizer,
        "args": argparse.Namespace(
            lr=np.float32(0.1), out=pathlib.Path("exp"), task=Task.SEMANTIC, dtype=torch.float16
        ),
        "metrics": collections.defaultdict(list, miou=[np.float64(0.7), np.arange(3)]),
        "rng": np.random.default_rng(0),
        "old_rng": np.random.RandomState(0),
        "when": datetime.datetime.now(datetime.timezone.utc),
        "run": uuid.uuid4(),
        "norm": functools.partial(torch.nn.BatchNorm1d, eps=1e-3),
        "device": torch.device("cpu"),
        "network": model,
    }
    path = tmp_path / "a.pth"
    checkpoint = {"state_dict": model.state_dict(), **extra}
    torch.save(checkpoint, path, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    found = open_checkpoint(path)
    assert set(found.weights) == {"weight", "bias"}
    assert found.remarks == []
    assert "torch.optim.adamw.AdamW" in found.ignored


def refused(path) -> str:
    with pytest.raises(BadModel) as caught:
        open_checkpoint(path)
    return caught.value.detail


@pytest.mark.parametrize(
    ("program", "named"),
    [
        (b"ccollections\nos.system\n(X\x02\x00\x00\x00lstR", "collections.os.system"),
        (b"c__builtin__\neval\n(X\x01\x00\x00\x001tR", "builtins.eval"),
        (b"ccommands\ngetoutput\n(X\x02\x00\x00\x00lstR", "subprocess.getoutput"),
        (b"(X\x02\x00\x00\x00lsios\nsystem\n", "os.system"),
        (b"(cos\nsystem\nX\x02\x00\x00\x00lso", "os.system"),
        (b"cos\nsystem\n)\x81", "os.system"),
        (b"cos\nsystem\n)}\x92", "os.system"),
        (b"c__builtin__\ngetattr\n(ctorch.optim\nAdam\nX\x0b\x00\x00\x00__globals__tR", "torch.optim.Adam.__globals__"),
        (
            b"c__builtin__\ngetattr\n(c__builtin__\ngetattr\n(ctorch\nnn\nX\x02\x00\x00\x00ostR"
            b"X\x06\x00\x00\x00systemtR",
            "torch.nn.os.system",
        ),
        (b"cfunctools\npartial\n(cos\nsystem\nX\x02\x00\x00\x00lstR", "os.system"),
        (b"c__builtin__\nmap\n(c__builtin__\nexec\n]tR", "builtins.exec"),
        (b"cmine\nThing\n)\x81}X\x01\x00\x00\x00fcos\nsystem\nsb", "os.system"),
    ],
)
def test_every_way_to_call_is_named_and_refused(tmp_path, program, named):
    head = b"\x80\x02}(X\x05\x00\x00\x00extra" + program
    state = pickled({"a": 1})[2:-1]
    path = write_zip(tmp_path / "a.pth", head + b"X\x0a\x00\x00\x00state_dict" + state + b"u.")
    assert f"names {named}" in refused(path) or f", {named}" in refused(path)


def test_a_pickle_that_breaks_off_after_the_name_tells_it(tmp_path):
    path = write_zip(tmp_path / "a.pth", b"\x80\x02cposix\nsystem\n(S'ls'\ntR.")
    assert "posix.system" in refused(path)
    assert "KeyError" not in refused(path)


def test_refused_weights_say_what_would_have_been_called(folder):
    path = folder / "model" / "model_best.pth"
    state = torch.load(path, weights_only=False)["state_dict"]
    torch.save({"state_dict": state, "hook": Calls(os.system, "touch marker")}, path)
    report = check(folder)
    assert not report.served
    name = f"{os.system.__module__}.system"
    assert name in report.reason
    assert f"POINTSERVE_PERMITTED_NAMES={name}" in report.reason


def test_a_name_is_served_with_an_explicit_word(folder, caplog):
    path = folder / "model" / "model_best.pth"
    state = torch.load(path, weights_only=False)["state_dict"]
    torch.save({"state_dict": state, "hook": Calls(subprocess.Popen, "touch marker")}, path)
    settings = ModelSettings(permitted_names="os.system, subprocess.Popen")
    report = check(folder, settings)
    assert report.served
    assert any(found.check == "names" and "subprocess.Popen" in found.detail for found in report.findings)
    card = load_model(folder, settings).card()
    assert "subprocess.Popen" in card["remarks"][0]
    assert "subprocess.Popen" in caplog.text


def test_another_name_is_not_permitted_with_it(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "x": Calls(eval, "1")}, tmp_path / "a.pth")
    with pytest.raises(BadModel, match=r"builtins\.eval"):
        open_checkpoint(tmp_path / "a.pth", ModelSettings(permitted_names="posix.system"))


def test_records_beside_the_pickle_that_is_read_do_not_count(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"state_dict": {"a": torch.ones(1)}}, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other.pkl", pickle.dumps(os.system))
    assert open_checkpoint(path).remarks == []
