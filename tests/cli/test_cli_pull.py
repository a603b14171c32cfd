"""``pointserve models pull`` against a stand-in of the hub."""

import hashlib
import json
import pickle
import sys
from pathlib import Path

import pytest
from hub_stand_in import Hub, Repository

from app.errors import BadRequest
from tests.cli.cli_samples import EXPERIMENT
from tests.encoder_samples import write_encoder, write_head

hub_library = pytest.importorskip("huggingface_hub", reason="needs the extra hub")
from app.zoo.hub import Address  # noqa: E402

NAME = EXPERIMENT.name
CONFIG = (EXPERIMENT / "config.py").read_bytes()
WEIGHTS = (EXPERIMENT / "model/model_best.pth").read_bytes()
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def hub():
    with Hub() as server:
        yield server


@pytest.fixture
def rooms(hub):
    """A repository as experiments are released, with files that no model needs."""
    repository = hub.repositories["lab/rooms"] = Repository()
    repository.commit(
        {
            "README.md": b"rooms",
            f"{NAME}/config.py": CONFIG,
            f"{NAME}/model/model_best.pth": WEIGHTS,
            f"{NAME}/model/model_last.pth": b"another",
            f"{NAME}/train.log": b"epoch 1",
        }
    )
    return repository


@pytest.fixture
def pull(pointserve_process, hub, tmp_path):
    """Run the command with a cache of its own, into ``tmp_path / "models"``."""

    def run(source, *options, **variables):
        stands = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "", "HF_TOKEN": ""}
        stands |= {"HF_HUB_CACHE": str(tmp_path / "hub/cache"), "HF_TOKEN_PATH": str(tmp_path / "hub/token")}
        return pointserve_process(
            "models", "pull", source, "--to", tmp_path / "models", *options, **(stands | variables)
        )

    return run


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_experiment_is_pulled_and_served_and_its_cache_is_enough_later(
    pull, pointserve_process, rooms, hub, tmp_path
):
    done = pull(f"hf://lab/rooms/{NAME}", "--sha256", SHA256.upper())
    assert done.returncode == 0, done.stderr
    assert f"hf://lab/rooms@{rooms.names['main']}/{NAME}" in done.stdout
    folder = tmp_path / "models" / NAME
    assert f"{SHA256}  {folder / 'model/model_best.pth'}\n" in done.stdout
    assert files(tmp_path / "models") == {f"{NAME}/config.py": CONFIG, f"{NAME}/model/model_best.pth": WEIGHTS}
    assert not [path for _, path in hub.requests if "model_last" in path or "train.log" in path]
    (card,) = json.loads(pointserve_process("models", "list", "--models", tmp_path / "models", "--json").stdout)
    assert (card["path"], card["served"]) == (str(folder), True)

    (folder / "config.py").unlink()
    rooms.commit({f"{NAME}/config.py": b"other"})
    hub.requests.clear()
    done = pull(f"hf://lab/rooms/{NAME}", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert "HF_HUB_OFFLINE" in done.stderr
    assert (folder / "config.py").read_bytes() == CONFIG
    assert not hub.requests
    done = pull(f"hf://lab/rooms/{NAME}", "--to", tmp_path / "more", "--json", HF_ENDPOINT="http://127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert "cannot be reached" in done.stderr
    assert json.loads(done.stdout)["sha256"][str(tmp_path / "more" / NAME / "model/model_best.pth")] == SHA256


def test_torch_is_not_loaded(pull, rooms, tmp_path):
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    done = pull(f"hf://lab/rooms/{NAME}", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr


def test_a_pinned_revision_stays_what_it_was(pull, rooms, tmp_path):
    pinned = rooms.names["main"]
    rooms.names["refs/pr/1"] = pinned
    rooms.commit({f"{NAME}/config.py": b"other", f"{NAME}/model/model_best.pth": b"other"})
    done = pull(f"hf://lab/rooms@{pinned}/{NAME}", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["source"], report["served"]) == (f"hf://lab/rooms@{pinned}/{NAME}", True)
    assert files(tmp_path / "models")[f"{NAME}/config.py"] == CONFIG
    again = pull(f"hf://lab/rooms@refs%2Fpr%2F1/{NAME}", "--json")
    assert json.loads(again.stdout) == report
    done = pull(f"hf://lab/rooms/{NAME}")
    assert done.returncode == 1
    assert "another file" in done.stderr
    assert files(tmp_path / "models")[f"{NAME}/config.py"] == CONFIG


def test_another_checksum_puts_nothing_in_place(pull, rooms, tmp_path):
    done = pull(f"hf://lab/rooms/{NAME}", "--sha256", "0" * 64)
    assert done.returncode == 1
    assert SHA256 in done.stderr
    assert not (tmp_path / "models").exists()
    assert pull(f"hf://lab/rooms/{NAME}", "--sha256", "12").returncode == 2


def test_damage_on_the_way_is_found_without_a_checksum_given(pull, rooms, tmp_path):
    rooms.damage[f"{NAME}/model/model_best.pth"] = WEIGHTS[:-1]
    done = pull(f"hf://lab/rooms/{NAME}")
    assert done.returncode == 1
    assert "did not arrive whole" in done.stderr
    rooms.damage[f"{NAME}/model/model_best.pth"] = WEIGHTS[:-1] + b"!"
    done = pull(f"hf://lab/rooms/{NAME}")
    assert done.returncode == 1
    assert "damaged" in done.stderr
    assert not (tmp_path / "models").exists()
    rooms.damage.clear()
    blob = done.stderr.partition("delete ")[2].partition(" and")[0]
    Path(blob).unlink()
    assert pull(f"hf://lab/rooms/{NAME}").returncode == 0


def test_what_is_not_there(pull, rooms, hub, tmp_path):
    rooms.commit({**rooms.revisions[rooms.names["main"]], "encoder.pth": b"weights"})
    for source, said in {
        "hf://lab/rooms": f"there are encoder.pth, {NAME}",
        "hf://lab/rooms/other.pth": f"there are encoder.pth, {NAME}",
        f"hf://lab/rooms@v2/{NAME}": "no revision 'v2'",
        f"hf://lab/house/{NAME}": "no repository lab/house",
    }.items():
        done = pull(source)
        assert done.returncode == 1
        assert said in done.stderr
    done = pull(f"hf://lab/rooms/{NAME}", HF_ENDPOINT="http://127.0.0.1:1")
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert "not in the cache" in done.stderr
    assert not (tmp_path / "models").exists()


def test_a_token_is_read_from_the_environment_only(pull, rooms, hub, tmp_path):
    rooms.gate = "hf_right"
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub/token").write_text("hf_right")
    done = pull(f"hf://lab/rooms/{NAME}")
    assert done.returncode == 1
    assert "gated" in done.stderr
    assert "HF_TOKEN" in done.stderr
    assert hub.tokens == {""}
    rooms.token = "hf_right"
    done = pull(f"hf://lab/rooms/{NAME}", HF_TOKEN="hf_right")
    assert done.returncode == 0, done.stderr
    assert "hf_right" not in done.stdout + done.stderr


def test_nothing_that_is_fetched_is_executed(pull, hub, tmp_path):
    class Evil:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    code = f"open({str(tmp_path / 'executed')!r}, 'w')\n"
    evil = pickle.dumps({"config": {}, "state_dict": {}, "evil": Evil()})
    hub.repositories["lab/evil"] = repository = Repository()
    repository.commit(
        {
            "config.py": code.encode(),
            "__init__.py": code.encode(),
            "model/model_best.pth": evil,
            "evil.pth": evil,
            "../config.py": b"above",
        }
    )
    for source in ("hf://lab/evil", "hf://lab/evil/evil.pth"):
        done = pull(source)
        assert done.returncode == 0, done.stderr
        assert "cannot be served" in done.stdout
    assert set(files(tmp_path / "models")) == {"evil/config.py", "evil/model/model_best.pth", "evil.pth"}
    assert not (tmp_path / "executed").exists()


def test_bases_and_loose_weights_come_along(pull, hub, tmp_path):
    hub.repositories["lab/based"] = repository = Repository()
    repository.commit(
        {
            "config.py": b"_base_ = ['bases/data.py', 'absent.py', '../out.py']\nx = 1\n",
            "bases/data.py": b"_base_ = 'runtime.py'\n",
            "bases/runtime.py": b"y = 1\n",
            "bases/other.py": b"y = 1\n",
            "weights.safetensors": b"weights",
            "class_embeddings.npy": b"embeddings",
        }
    )
    done = pull("hf://lab/based", "--json")
    assert done.returncode == 0, done.stderr
    assert "absent.py" in json.loads(done.stdout)["reason"]
    assert set(files(tmp_path / "models/based")) == {
        "config.py",
        "bases/data.py",
        "bases/runtime.py",
        "weights.safetensors",
        "class_embeddings.npy",
    }


def test_weights_without_a_config_wait_for_one(pull, pointserve_process, hub, tmp_path):
    hub.repositories["lab/lit"] = repository = Repository()
    repository.commit({f"{NAME}/model/model_best.pth": WEIGHTS})
    done = pull(f"hf://lab/lit/{NAME}")
    assert done.returncode == 0, done.stderr
    assert "config.py" in done.stdout
    folder = tmp_path / "models" / NAME
    (folder / "config.py").write_bytes(CONFIG)
    assert pointserve_process("models", "check", folder).returncode == 0


def test_a_head_comes_with_its_encoder(pull, hub, tmp_path):
    write_encoder(tmp_path / "e.pth")
    write_head(tmp_path / "h.pth")
    hub.repositories["lab/enc"] = repository = Repository()
    name = "enc_linear_prob_head_sc.pth"
    repository.commit({"enc.pth": (tmp_path / "e.pth").read_bytes(), name: (tmp_path / "h.pth").read_bytes()})
    digest = hashlib.sha256((tmp_path / "h.pth").read_bytes()).hexdigest()
    done = pull(f"hf://lab/enc/{name}", "--sha256", digest)
    assert done.returncode == 0, done.stderr
    assert set(files(tmp_path / "models")) == {"enc.pth", name}
    assert f"pointserve serve --models {tmp_path / 'models' / name}" in done.stdout
    assert "20 classes" in done.stdout


@pytest.mark.parametrize(
    "text",
    [
        "https://huggingface.co/lab/rooms",
        "hf://rooms",
        "hf://lab/rooms@/x",
        "hf://lab/rooms/../x",
        "hf://lab/rooms/a//b",
        "hf://lab/rooms/a:b",
        "hf://../rooms",
        "hf://lab/ro oms",
        "lab/rooms",
    ],
)
def test_other_addresses_are_refused(text):
    with pytest.raises(BadRequest, match="hf://owner/repo"):
        Address.parse(text)


def test_addresses():
    assert Address.parse("hf://lab/rooms") == Address("lab/rooms", "main", "")
    assert Address.parse("hf://lab/rooms@v1/a/b.pth") == Address("lab/rooms", "v1", "a/b.pth")
    address = Address.parse("hf://lab/rooms@refs%2Fpr%2F1/a/")
    assert address == Address("lab/rooms", "refs/pr/1", "a")
    assert Address.parse(str(address)) == address


def test_without_the_library_the_remedy_is_named(pointserve_process, tmp_path):
    empty = tmp_path / "sitecustomize.py"
    empty.write_text("import sys\nsys.modules['huggingface_hub'] = None\n")
    done = pointserve_process("models", "pull", "hf://lab/rooms", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert f"`{sys.executable} -m pip install huggingface-hub`" in done.stderr
