"""Files of torch.save as archives: what they hold, and files that are damaged, hostile."""

import pickle
import struct
import sys
import zipfile

import pytest
import safetensors.torch
import torch
from torch import nn

from app.pickles.archive import DamagedError, archive_in
from app.pickles.unpickle import Stub, UnreadableError
from tests.pickles.checkpoint_samples import Storage, Tensor, pickled, write_zip


def read(path) -> dict:
    """The object in ``path``, with the bytes of every storage that it refers to read."""
    with path.open("rb") as file:
        archive = archive_in(file)
        assert archive is not None
        for storage in archive.pickled.storages.values():
            archive.read(storage)
        return archive.pickled.value


def refused(path) -> str:
    with pytest.raises((DamagedError, UnreadableError)) as caught:
        read(path)
    return str(caught.value)


def test_modules_that_a_file_names_are_not_imported(tmp_path, monkeypatch):
    (tmp_path / "poisoned.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w')\nclass Thing: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    program = b"\x80\x02}(X\x0a\x00\x00\x00state_dict}X\x01\x00\x00\x00acpoisoned\nThing\n)\x81ss."
    path = write_zip(tmp_path / "a.pth", program.replace(b"}(", b"}", 1))
    assert isinstance(read(path)["state_dict"]["a"], Stub)
    assert "poisoned" not in sys.modules
    assert not (tmp_path / "marker").exists()


def test_records_that_overlap_are_refused(tmp_path):
    storages = {f"w{i}": Tensor(Storage(1 << 14, key=str(i)), (1 << 14,), (1,)) for i in range(50)}
    path = tmp_path / "a.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled({"state_dict": storages}))
        archive.writestr("archive/data/0", bytes(1 << 16))
        first = archive.filelist[-1]
        for i in range(1, 50):
            info = zipfile.ZipInfo(f"archive/data/{i}")
            info.header_offset, info.CRC = first.header_offset, first.CRC
            info.file_size = info.compress_size = first.file_size
            archive.filelist.append(info)
            archive.NameToInfo[info.filename] = info
    assert "more bytes than the file has" in refused(path)


def test_protocol_0_is_refused(tmp_path):
    program = pickle.dumps({"state_dict": {}}, protocol=0)
    assert "none that torch.save writes" in refused(write_zip(tmp_path / "a.pth", program))


def test_a_stream_whose_storages_lie_about_their_length(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.full((6,), 1.5)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    length = struct.pack("<q", 6) + struct.pack("<f", 1.5)
    assert data.count(length) == 1
    for lie in (5, 7, 1 << 40, -1):
        path.write_bytes(data.replace(length, struct.pack("<q", lie) + struct.pack("<f", 1.5)))
        assert "cut short" in refused(path)


def test_what_torch_save_did_not_write_is_none(tmp_path):
    for data in (b"", pickled({"a": 1}), safetensors.torch.save({"a": torch.ones(2)}), bytes(1000)):
        (tmp_path / "a.pth").write_bytes(data)
        with (tmp_path / "a.pth").open("rb") as file:
            assert archive_in(file) is None


def test_damaged_weights_are_noticed_by_their_checksum(tmp_path):
    torch.save({"a": torch.full((100,), 1.5)}, tmp_path / "a.pth")
    data = bytearray((tmp_path / "a.pth").read_bytes())
    position = data.index(struct.pack("<f", 1.5) * 4)
    data[position] ^= 1
    (tmp_path / "a.pth").write_bytes(data)
    assert "its checksum" in refused(tmp_path / "a.pth")


def test_a_missing_or_compressed_record_is_refused(tmp_path):
    state = pickled({"state_dict": {"a": Tensor(Storage(2), (2,), (1,))}})
    assert "data/0 is missing" in refused(write_zip(tmp_path / "a.pth", state))
    assert "compressed" in refused(write_zip(tmp_path / "b.pth", state, zipfile.ZIP_DEFLATED, data_0=bytes(8)))


def test_zips_that_are_no_checkpoint_are_refused(tmp_path):
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pth")
    assert "TorchScript" in refused(tmp_path / "script.pth")
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "holds 0" in refused(tmp_path / "other.pth")
