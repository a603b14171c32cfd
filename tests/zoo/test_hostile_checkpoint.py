"""Checkpoints made to run something, to eat memory or to read what is not theirs."""

import os
import struct
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest
import torch

from app.errors import BadModel
from app.zoo.checkpoint import open_checkpoint, read
from tests.pickles.checkpoint_samples import Calls, Storage, Tensor, write_state, write_zip


def refused(path) -> str:
    with pytest.raises(BadModel) as caught:
        read(path)
    return caught.value.detail


def attacks(marker: Path) -> dict[str, object]:
    command = f"touch {marker}"
    return {
        "system": Calls(os.system, command),
        "exec": Calls(exec, f"open({str(marker)!r}, 'w')"),
        "popen": Calls(subprocess.Popen, command, -1, None, None, None, None, None, True, True),
        "getattr": Calls(Calls(getattr, os, "system"), command),
        "partial": Calls(partial(os.system, command)),
        "open": Calls(open, str(marker), "w"),
        "load": Calls(torch.load, str(marker)),
    }


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])
@pytest.mark.parametrize("attack", ["system", "exec", "popen", "getattr", "partial", "open", "load"])
def test_calls_beside_the_weights_are_refused_and_not_made(tmp_path, attack, zipped):
    marker = tmp_path / "marker"
    path = tmp_path / "a.pth"
    evil = attacks(marker)[attack] if attack != "getattr" else Calls(getattr, torch.nn.Linear, "__subclasses__")
    torch.save({"state_dict": {"a": torch.ones(2)}, "extra": evil}, path, _use_new_zipfile_serialization=zipped)
    assert "would run code" in refused(path)
    assert not marker.exists()


@pytest.mark.parametrize("attack", ["system", "exec", "popen", "partial", "open"])
def test_calls_among_the_weights_are_refused_by_name(tmp_path, attack):
    marker = tmp_path / "marker"
    path = write_state(tmp_path / "a.pth", {"a": attacks(marker)[attack]})
    assert "would run code" in refused(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(X\x05\x00\x00\x00touchtR.",  # a call as the whole file
        b"(X\x05\x00\x00\x00touchios\nsystem\n.",  # INST
        b"(cos\nsystem\nX\x05\x00\x00\x00toucho.",  # OBJ
        b"\x82\x01.",  # the extension registry
        b"}X\x01\x00\x00\x00a}cos\nsystem\nX\x05\x00\x00\x00touch\x85Rbs.",  # BUILD of a dict with what a call gave
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}X\x0c\x00\x00\x00__defaults__)stb.",  # BUILD of a function
        b"ccollections\nOrderedDict\n(N}X\x05\x00\x00\x00items)stb.",
        b"I1\n.",
        b".",
        b"",
        b"}}s.",
        b"R",
        b"0" * 100,
        b"\x80\xff.",
        b"]" * 1000,
        b"h\x05.",
        b"j\xff\xff\xff\xff.",
        b"N" + b"Q" * 10 + b".",
        b"}\x8b" + struct.pack("<i", 9000) + b"\x7f" * 9000 + b"Ns.",  # a key of 72000 bits
    ],
)
def test_odd_programs_are_refused(tmp_path, program):
    before = torch._utils._rebuild_tensor_v2.__defaults__
    assert refused(write_zip(tmp_path / "a.pth", b"\x80\x02" + program))
    assert torch._utils._rebuild_tensor_v2.__defaults__ == before


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor(Storage(4), (5,), (1,)),
        Tensor(Storage(4), (4,), (1,), offset=1),
        Tensor(Storage(4), (2,), (1 << 62,)),
        Tensor(Storage(4), (4,), (-1,), offset=3),
        Tensor(Storage(4), (-4,), (1,)),
        Tensor(Storage(4), (4,), (1,), offset=-1),
        Tensor(Storage(4), (1 << 40,), (0,)),
        Tensor(Storage(4), (1 << 40, 0), (1 << 40, 1 << 40)),
        Tensor(Storage(4), (1 << 5000,), (0,)),
        Tensor(Storage(4), (2, 2), (1,)),
        Tensor(Storage(4), (2.0,), (1,)),
        Tensor(Storage(4), [2], [1]),
        Tensor(Storage(4), (1,) * 1000, (1,) * 1000),
        Tensor(Storage(4), "4", "1"),
        Tensor(Storage(5), (5,), (1,)),
        Tensor(Storage(3), (3,), (1,)),
        Tensor(Storage(1 << 60), (4,), (1,)),
        Tensor(Storage(-1), (4,), (1,)),
        Tensor(Storage("4"), (4,), (1,)),
        Tensor(Storage(4, key="../data.pkl"), (4,), (1,)),
        Tensor(Storage(4, key=0), (4,), (1,)),
        Tensor(Storage(4, kind=torch.nn.Linear), (4,), (1,)),
        Tensor("storage", (4,), (1,)),
    ],
)
def test_tensors_that_reach_past_their_storage_are_refused(tmp_path, tensor):
    assert refused(write_state(tmp_path / "a.pth", {"a": tensor}, bytes(16)))


def test_the_same_storage_as_two_types_is_refused(tmp_path):
    state = {
        "a": Tensor(Storage(4), (4,), (1,)),
        "b": Tensor(Storage(4, kind=torch.IntStorage), (4,), (1,)),
    }
    assert "two types" in refused(write_state(tmp_path / "a.pth", state, bytes(16)))


def test_many_names_for_one_storage_are_refused(tmp_path):
    storage = Storage(1 << 18)
    state = {f"weight{i}": Tensor(storage, (1 << 18,), (1,)) for i in range(100)}
    assert "share storages" in refused(write_state(tmp_path / "a.pth", state, bytes(1 << 20)))


def test_programs_that_claim_or_build_too_much_are_refused_quickly(tmp_path):
    bombs = {
        "memo": b"\x80\x02Nr\xff\xff\xff\xff.",
        "text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 60) + b".",
        "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b".",
        "long": b"\x80\x02\x8b" + struct.pack("<i", 0x7FFFFFFF) + b".",
        "negative": b"\x80\x02\x8b" + struct.pack("<i", -1) + b".",
        "size": bytes(32 << 20),
    }
    start = time.process_time()
    for name, program in bombs.items():
        refused(write_zip(tmp_path / f"{name}.pth", program))
    assert time.process_time() - start < 10


def test_keys_nested_so_deep_that_hashing_them_would_crash(tmp_path):
    nested = b")" + b"\x85" * 200_000
    program = b"\x80\x02}X\x0a\x00\x00\x00state_dict}" + nested + b"Nss."
    assert "names must be strings" in refused(write_zip(tmp_path / "a.pth", program))


def test_globals_of_a_bomb_do_not_reach_the_message_whole(tmp_path):
    name = b"x" * 100_000
    program = b"\x80\x02}X\x0a\x00\x00\x00state_dict}X" + struct.pack("<I", len(name)) + name + b"Nss."
    assert len(refused(write_zip(tmp_path / "a.pth", program))) < 1000


def test_an_opened_file_names_what_it_did_not_import(tmp_path):
    torch.save({"state_dict": {"a": torch.ones(1)}, "x": Calls(str, "true")}, tmp_path / "a.pth")
    assert open_checkpoint(tmp_path / "a.pth").ignored == ["builtins.str"]
