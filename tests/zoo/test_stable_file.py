"""Files of weights that are written to while they are read or used."""

import pytest
import safetensors.torch
import torch

from app.errors import BadModel
from app.pickles.archive import DamagedError
from app.zoo import checkpoint
from app.zoo.stable_file import open_stable

WEIGHT = torch.arange(40_000, dtype=torch.float32)  # many pages


def save(path, weight):
    save = safetensors.torch.save_file if path.suffix == ".safetensors" else torch.save
    save({"weight": weight, "count": torch.arange(3)}, path)


@pytest.fixture(params=["a.safetensors", "a.pth", "stream.pth"])
def path(request, tmp_path):
    path = tmp_path / request.param
    if path.stem == "stream":
        torch.save({"weight": WEIGHT, "count": torch.arange(3)}, path, _use_new_zipfile_serialization=False)
    else:
        save(path, WEIGHT)
    return path


def overwrite(path, start, data):
    """In place, as cp does."""
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def test_weights_stay_what_they_were_when_their_file_is_rewritten_or_cut_in_place(path):
    weights = checkpoint.read(path)
    overwrite(path, path.stat().st_size // 2, b"\xff" * 4096)
    assert torch.equal(weights["weight"], WEIGHT)
    with path.open("r+b") as file:
        file.truncate(100)
    assert torch.equal(weights["weight"], WEIGHT)
    assert torch.equal(weights["count"], torch.arange(3))


def test_file_that_is_written_to_while_it_is_read_is_refused(path, monkeypatch):
    """Whatever the bytes that were read by then make: they may be of two files."""
    open_archive, copied = checkpoint.open_archive, checkpoint.copied_to_memory

    def meddle(function):
        def meddling(*arguments):
            overwrite(path, 0, path.read_bytes()[:1])
            return function(*arguments)

        return meddling

    monkeypatch.setattr(checkpoint, "open_archive", meddle(open_archive))
    monkeypatch.setattr(checkpoint, "copied_to_memory", meddle(copied))
    with pytest.raises(BadModel, match="written to while it was read"):
        checkpoint.read(path)
    monkeypatch.undo()
    assert torch.equal(checkpoint.read(path)["weight"], WEIGHT)


def test_error_of_a_file_that_is_cut_while_it_is_read_is_told_as_what_it_is(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"whole")

    def use():
        with open_stable(path) as file:
            path.write_bytes(b"")
            raise RuntimeError(f"{file.read()!r} in a library's words")

    with pytest.raises(DamagedError, match="written to"):
        use()
