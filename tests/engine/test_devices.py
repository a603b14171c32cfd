import pytest

from app.engine.devices import choose
from app.errors import BadRequest


def test_plain_devices_need_no_environment():
    for name in ("auto", "cpu", "cuda"):
        (choice,) = choose(name)
        assert (choice.name, choice.torch_device, choice.environment) == (name, name, {})


def test_numbered_device_is_an_entry_of_the_devices_already_visible(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaa,GPU-bbb")
    (choice,) = choose("cuda:1")
    assert choice.torch_device == "cuda"
    assert choice.environment == {"CUDA_VISIBLE_DEVICES": "GPU-bbb"}


def test_several_devices_make_several_engines():
    assert [choice.name for choice in choose("cpu, cuda:0")] == ["cpu", "cuda:0"]


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "cpu,", "cuda:-1"])
def test_unknown_device_is_refused(name):
    with pytest.raises(BadRequest, match="POINTSERVE_DEVICE"):
        choose(name)


@pytest.mark.parametrize("visible", ["", "GPU-aaa"])
def test_device_that_is_hidden_stays_hidden(monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    (choice,) = choose("cuda:1")
    assert choice.environment == {"CUDA_VISIBLE_DEVICES": ""}
