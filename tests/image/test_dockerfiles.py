"""The Dockerfiles against the tree: what they copy is there, what they set is what the other files say."""

import fnmatch
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILES = ("Dockerfile", "Dockerfile.gpu")
ALL = pytest.mark.parametrize("name", DOCKERFILES)


def instructions(name):
    """(keyword, rest) of every instruction; comments are dropped, continued lines joined."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return [tuple(line.split(maxsplit=1)) for line in joined.splitlines() if line.strip()]


def variables(name):
    """Of the last stage."""
    last = [index for index, (keyword, _) in enumerate(instructions(name)) if keyword == "FROM"][-1]
    text = " ".join(rest for keyword, rest in instructions(name)[last:] if keyword == "ENV")
    return dict(re.findall(r"([A-Z_]+)=(\S+)", text))


def is_sent(path):
    """Whether .dockerignore lets the file ``path`` through; the last pattern that fits decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        parts = path.split("/")
        heads = ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]
        anywhere = pattern.removeprefix("**/")
        if any(fnmatch.fnmatch(head, pattern) for head in heads) or (
            anywhere != pattern and any(fnmatch.fnmatch(part, anywhere) for part in parts)
        ):
            sent = line.startswith("!")
    return sent


@ALL
def test_what_is_copied_is_there_and_is_sent(name):
    copied = [rest.split()[:-1] for keyword, rest in instructions(name) if keyword == "COPY" and "--from" not in rest]
    assert copied
    for source in (source for sources in copied for source in sources):
        assert (ROOT / source).exists(), source
        if (ROOT / source).is_file():
            assert is_sent(source), source


def test_only_what_is_needed_is_sent():
    assert is_sent("app/settings.py")
    assert is_sent("app/bundled/aerial-semseg-spunet-v1m1/model/model_best.safetensors")
    assert is_sent("libs/pointops/csrc/search/box_tree.cu")
    for path in (
        ".git/config",
        ".venv/bin/python",
        "tests/golden/README.md",
        "libs/pointops/pointops/_compiled.cpython-310-x86_64-linux-gnu.so",
        "libs/sparseops/build/x",
        "app/__pycache__/x.pyc",
        "models/scannet/model/model_best.pth",
        "demo.laz",
    ):
        assert not is_sent(path), path


@ALL
def test_runs_as_a_user_with_a_health_check_and_labels(name):
    found = instructions(name)
    assert [rest for keyword, rest in found if keyword == "USER"] == ["10001:10001"]
    (check,) = [rest for keyword, rest in found if keyword == "HEALTHCHECK"]
    assert "/health/ready" in check
    labels = " ".join(rest for keyword, rest in found if keyword == "LABEL")
    for label in ("title", "description", "licenses", "version", "revision", "base.name"):
        assert f"org.opencontainers.image.{label}=" in labels
    stage = found[[index for index, (keyword, _) in enumerate(found) if keyword == "FROM"][-1] :]
    declared = {rest.partition("=")[0] for keyword, rest in stage if keyword == "ARG"}
    assert set(re.findall(r"\$\{(\w+)\}", labels)) <= declared  # those before the first FROM are empty in a stage
    assert ("EXPOSE", "5001") in found
    (entrypoint,) = [rest for keyword, rest in found if keyword == "ENTRYPOINT"]
    assert entrypoint.startswith('["tini", "--"')
    assert ("STOPSIGNAL", "SIGTERM") in found


@ALL
def test_no_frontend_has_to_be_fetched_and_caches_are_mounts(name):
    text = (ROOT / name).read_text()
    assert "syntax=" not in text
    assert "--mount=type=cache" in text
    assert not re.search(r"^FROM \S+:latest", text, re.MULTILINE)


def test_variables_of_the_gpu_image():
    environment = re.search(r"^name: (\S+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE)[1]
    found = variables("Dockerfile.gpu")
    expected = {
        "CUDA_HOME": "/usr/local/cuda",
        "FORCE_CUDA": "1",
        "SPCONV_DISABLE_JIT": "1",
        "CUMM_DISABLE_JIT": "1",
        "PYTHONUNBUFFERED": "1",
        "CONDA_DEFAULT_ENV": environment,
        "INSTALL_POINTOPS_AT_RUNTIME": "0",
        "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
        "PYTHONPATH": "/opt/pointcept",
    }
    assert expected.items() <= found.items()
    assert found["PATH"].startswith(f"/opt/conda/envs/{environment}/bin:")


def test_build_arguments_of_the_gpu_image():
    arguments = dict(
        rest.split("=", 1) for keyword, rest in instructions("Dockerfile.gpu") if keyword == "ARG" and "=" in rest
    )
    assert arguments["TORCH_CUDA_ARCH_LIST"] == '"7.5;8.0;8.6;8.9;9.0"'
    assert arguments["CUDA_IMAGE"] == "nvidia/cuda:12.4.1-cudnn-devel-ubuntu22.04"
    assert re.fullmatch("[0-9a-f]{40}", arguments["POINTCEPT_COMMIT"])
    assert re.fullmatch("[0-9a-f]{64}", arguments["MINIFORGE_SHA256"])
    assert "MAX_JOBS" in arguments
    building = (ROOT / "libs/common/building.py").read_text()
    assert re.search(r'"TORCH_CUDA_ARCH_LIST", ("[^"]+")', building)[1] == arguments["TORCH_CUDA_ARCH_LIST"]


@ALL
def test_there_are_what_surveys_and_jobs_need_and_ray_for_the_asking(name):
    text = (ROOT / name).read_text()
    assert ("ARG", "RAY=") in instructions(name)
    assert "RAY" in re.search(r"\$\{RAY:\+,ray\}|if \[ -n \"\$RAY\" \]", text)[0]
    assert re.search(r"install -d -o pointserve .* /jobs\b", text)
    volumes = [rest for keyword, rest in instructions(name) if keyword == "VOLUME"]
    assert "/jobs" not in " ".join(volumes)  # a volume that is always there would switch jobs on


@ALL
def test_every_library_is_installed(name):
    installed = re.findall(r"(?<=libs/)\w+", " ".join(rest for _, rest in instructions(name)))
    assert {path.parent.name for path in ROOT.glob("libs/*/pyproject.toml")} <= set(installed)
