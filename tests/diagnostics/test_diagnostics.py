import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sparseops

from app.diagnostics.attempt import Attempt
from app.diagnostics.compute import is_supported
from app.diagnostics.libraries import entry as library_entry
from app.diagnostics.operators import check_library
from app.diagnostics.report import report
from app.operators import sparseops as sparseops_table
from app.processes import PACKAGE_ROOT, Task

HANGS = """
import os, pathlib, subprocess, sys, time
print("loading", flush=True)
nap = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(__file__).with_name("pids").write_text(f"{os.getpid()} {nap.pid}")
time.sleep(600)
"""
BROKEN = {
    "spconv/__init__.py": "",
    "spconv/pytorch.py": "import os\nos.abort()\n",
    "cumm/__init__.py": "",
    "cumm/tensorview.py": HANGS,
    "torch_scatter.py": "raise OSError('libcudart.so.12: cannot open shared object file')\n",
    "torch_cluster.py": "import a_package_that_nobody_has\n",
    "torch_sparse.py": "raise SystemExit(0)\n",
    "flash_attn.py": "raise ImportError('flash_attn.so: undefined symbol: _ZN2at')\n",
    "ocnn.py": "__version__ = '2.2.5'\nprint('hello from ocnn')\n",
}


@pytest.fixture
def broken_stack(tmp_path, monkeypatch):
    for name, code in BROKEN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


def wait_until_gone(pids, limit_s=10):
    """A killed process may stay a zombie for as long as its new parent likes."""
    deadline = time.monotonic() + limit_s
    stats = [Path(f"/proc/{pid}/stat") for pid in pids]
    while alive := [str(stat) for stat in stats if stat.exists() and ") Z" not in stat.read_text()]:
        assert time.monotonic() < deadline, f"still running: {alive}"
        time.sleep(0.05)


def run_module(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "app.diagnostics", *arguments], capture_output=True, text=True, timeout=120, **options
    )


def test_json_report_of_this_machine():
    done = run_module("--json")
    facts = json.loads(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert facts["ok"]
    assert facts["python"]["version"] == sys.version.split()[0]
    assert facts["cpu"]["usable_cores"] >= 1
    assert facts["memory"]["total_bytes"] > 1 << 28
    assert facts["torch"]["state"] == "ok"
    assert facts["driver"]["state"] in ("ok", "absent", "broken")
    libraries = {entry["name"]: entry for entry in facts["operators"]}
    assert list(libraries) == ["sparseops", "pointops", "pointgroup_ops"]
    for entry in libraries.values():
        assert entry["state"] in ("compiled", "reference")
        assert (entry["architectures"] != []) == (entry["state"] == "compiled")
        assert len(entry["checks"]) >= 2
        assert all(check["ok"] for check in entry["checks"])


def test_text_report_names_every_part():
    done = run_module(env={**os.environ, "COLUMNS": "200"})
    assert done.returncode == 0
    for part in (
        "python",
        "torch",
        "driver",
        "sparseops",
        "pointops",
        "pointgroup_ops",
        "spconv",
        "flash_attn",
        "pointcept",
    ):
        assert part in done.stdout


def test_broken_libraries_hurt_nobody_else(broken_stack):
    facts = report()
    stack = {entry["name"]: entry for entry in facts["stack"]}
    assert stack["spconv"]["state"] == "broken"
    assert "SIGABRT" in stack["spconv"]["reason"]
    assert stack["cumm"]["state"] == "broken"
    assert "no answer" in stack["cumm"]["reason"]
    assert "libcudart" in stack["torch_scatter"]["reason"]
    assert "CUDA" in stack["torch_scatter"]["remedy"]
    assert "a_package_that_nobody_has" in stack["torch_cluster"]["remedy"]
    assert stack["torch_sparse"]["state"] == "broken"
    assert "another torch" in stack["flash_attn"]["remedy"]
    assert stack["ocnn"] == {"name": "ocnn", "state": "ok", "version": "2.2.5"}
    assert stack["torch_geometric"]["state"] == "absent"
    assert facts["torch"]["state"] == "ok"
    assert facts["ok"], "the optional stack is not needed to serve"
    broken = {problem["part"] for problem in facts["problems"]}
    assert {"spconv", "cumm", "torch_scatter", "torch_cluster", "torch_sparse", "flash_attn"} <= broken
    assert all(problem["remedy"] for problem in facts["problems"])
    wait_until_gone((broken_stack / "cumm/pids").read_text().split())


def test_what_a_report_tries_ends_if_the_report_is_killed(broken_stack):
    file = broken_stack / "cumm/pids"
    with Task("app.diagnostics", ["--json"]):
        until = time.monotonic() + 60
        while not (file.exists() and len(file.read_text().split()) == 2):
            assert time.monotonic() < until
            time.sleep(0.01)
    pid, nap = file.read_text().split()
    os.kill(int(nap), signal.SIGKILL)
    wait_until_gone([pid])


def test_broken_torch_is_reported_and_fails(tmp_path):
    (tmp_path / "torch.py").write_text("import os\nos.abort()\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = run_module("--json", env={**os.environ, "PYTHONPATH": path})
    facts = json.loads(done.stdout)
    assert done.returncode == 1
    assert not facts["ok"]
    assert "SIGABRT" in facts["torch"]["reason"]
    problem = next(problem for problem in facts["problems"] if problem["part"] == "torch")
    assert problem["required"]
    assert "torch" in problem["remedy"]


NOT_BUILT = "raise ModuleNotFoundError(\"No module named 'sparseops._compiled'\")"


def hidden(tmp_path, extension):
    """Variables of a process that finds sparseops with this text for its extension."""
    installed = Path(sparseops.__file__).parent
    shutil.copytree(installed, tmp_path / "sparseops", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (tmp_path / "sparseops/_compiled.py").write_text(extension)
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}


def test_operators_without_their_extension_are_slow_and_say_what_to_do(tmp_path):
    done = run_module(env=hidden(tmp_path, NOT_BUILT) | {"MAX_JOBS": "1"})
    assert done.returncode == 0, done.stdout
    assert "sparseops: slow: its compiled extension was not built" in done.stdout
    assert "(extension missing)" in done.stdout
    assert "./libs/sparseops`" in done.stdout
    assert "Serving works, but slowly: sparseops runs without" in done.stdout


def test_an_extension_that_was_not_built_for_want_of_memory_says_so(tmp_path):
    done = run_module("--json", env=hidden(tmp_path, NOT_BUILT) | {"MAX_JOBS": "1000"})
    (found,) = [problem for problem in json.loads(done.stdout)["problems"] if problem["part"] == "sparseops"]
    assert "1000 compilers at once take up to 2000 GB" in found["problem"]
    assert "--build-arg MAX_JOBS=" in found["remedy"]


def test_an_extension_of_another_torch_is_told_from_one_that_is_missing(tmp_path):
    done = run_module("--json", env=hidden(tmp_path, "raise ImportError('_C.so: undefined symbol: _ZN2at')"))
    (found,) = [problem for problem in json.loads(done.stdout)["problems"] if problem["part"] == "sparseops"]
    assert found["fault"] == "extension of another torch"
    assert "does not load (_C.so: undefined symbol: _ZN2at)" in found["problem"]
    assert not found["required"]


def test_operators_that_are_off_are_found(monkeypatch):
    conv, attention, serialize = sparseops.sparse_conv, sparseops.patch_attention, sparseops.serialize
    grid_sample = sparseops.grid_sample
    monkeypatch.setattr(sparseops, "grid_sample", lambda coord, **given: grid_sample(coord.flip(1), **given))
    monkeypatch.setattr(sparseops, "sparse_conv", lambda **given: conv(**given) + 0.01)
    monkeypatch.setattr(sparseops, "patch_attention", lambda **given: attention(**given) + 0.01)
    monkeypatch.setattr(sparseops, "serialize", lambda **given: serialize(**given | {"curves": ["z"]}))
    checks = check_library("sparseops")["checks"]
    errors = {check["operator"]: check["max_abs_error"] for check in checks if not check["ok"]}
    whole = [errors.pop(operator) for operator in ("grid_sample", "serialize")]
    convolutions = {"sparse_conv, submanifold", "sparse_conv, strided", "sparse_conv, linear"}
    assert errors.keys() == {*convolutions, "patch_attention"}
    assert all(abs(error - 0.01) < 1e-4 for error in errors.values())
    assert min(whole) >= 1
    assert len(checks) == len(sparseops_table.OPERATORS)


def test_operators_compiled_for_other_devices_say_for_which():
    check = {"device": "cuda:0", "operator": "all", "ok": False, "reason": "RuntimeError: no kernel image is available"}
    found = {"name": "pointops", "state": "compiled", "architectures": ["cpu", "sm_80"], "checks": [check]}
    entry = library_entry("pointops", Attempt(found), {})
    assert entry["fault"] == "architecture not compiled for this card"
    assert entry["state"] == "broken"
    assert "cuda:0: RuntimeError: no kernel image" in entry["reason"]
    assert "compiled for cpu, sm_80: set TORCH_CUDA_ARCH_LIST" in entry["remedy"]


def test_neighbours_and_clusters_that_are_off_are_found(monkeypatch):
    import pointgroup_ops

    query, cluster = pointgroup_ops.ballquery_batch_p, pointgroup_ops.bfs_cluster
    assert all(check["ok"] for check in check_library("pointgroup_ops")["checks"])
    monkeypatch.setattr(pointgroup_ops, "ballquery_batch_p", lambda **given: query(**given | {"radius": 1.3}))
    monkeypatch.setattr(
        pointgroup_ops, "bfs_cluster", lambda semantic_label, **given: cluster(semantic_label * 0, **given)
    )
    checks = check_library("pointgroup_ops")["checks"]
    assert {"ballquery_batch_p", "bfs_cluster"} == {check["operator"] for check in checks}
    assert not any(check["ok"] for check in checks)


@pytest.mark.parametrize(
    ("capability", "architectures", "supported"),
    [
        ((8, 6), ["sm_80", "sm_90"], True),
        ((8, 9), ["sm_80"], True),
        ((7, 5), ["sm_80", "sm_90"], False),
        ((9, 0), ["sm_90a"], True),
        ((12, 0), ["sm_80", "sm_90a"], False),
        ((12, 0), ["sm_90", "compute_90"], True),
        ((12, 0), ["sm_100", "sm_120"], True),
        ((8, 0), ["sm_86"], False),
    ],
)
def test_architectures(capability, architectures, supported):
    assert is_supported(capability, architectures) is supported


def test_the_report_needs_no_web_framework_and_no_torch_and_works_anywhere(tmp_path):
    (tmp_path / "app").mkdir()
    (tmp_path / "app/__init__.py").write_text("raise SystemExit('another app')")
    code = (
        f"import sys; sys.path[0] = {str(PACKAGE_ROOT)!r}; from app.diagnostics.report import report; "
        "print(report()['ok'], sorted({'flask', 'apiflask', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.stdout.strip() == "True []", done.stdout + done.stderr
