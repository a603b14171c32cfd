"""Checks the stack of the GPU image part by part: versions, headers, machine code; with a GPU also computations.

Started by test_cuda124_stack.sh. Prints a line for every check; exit code 1 where one failed, 2 for wrong arguments.
Every part runs in a process of its own, so that one that crashes is one line.
"""

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT_S = 600
CUDA = "12.4"
LIBRARIES = {name: f"{name}._compiled" for name in ("sparseops", "pointops", "pointgroup_ops")}
POINTCEPT_NEEDS = ("ocnn", "clip", "peft", "timm", "einops", "addict", "open3d", "plyfile", "h5py", "wandb")


class Absent(Exception):
    """What a check needs is not on this machine; it is skipped."""


def needs_gpu() -> None:
    """Raise Absent where torch has no CUDA device."""
    import torch

    if not torch.cuda.is_available():
        raise Absent("no GPU; start the container with --gpus all")


def expect(found: object, expected: object, what: str) -> str:
    """``found`` as text; AssertionError unless it is ``expected``."""
    if found != expected:
        raise AssertionError(f"{what} is {found}, expected {expected}")
    return f"{what} {found}"


def output(*command: str) -> str:
    """What ``command`` prints; AssertionError where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {(done.stdout + done.stderr).strip()[-300:]}")
    return done.stdout


# --- parts: each yields functions that return what they found, or raise


def environment() -> Iterator[Callable[[], str]]:
    """The conda environment, its variables, and every version that environment.yml pins for pip."""

    def activated() -> str:
        prefix = os.environ.get("CONDA_PREFIX", "")
        expect(Path(prefix).name, os.environ.get("CONDA_DEFAULT_ENV", ""), "the environment's folder")
        expect(Path(sys.prefix).resolve(), Path(prefix).resolve(), "Python's prefix")
        return prefix

    def variables() -> str:
        for name in ("SPCONV_DISABLE_JIT", "CUMM_DISABLE_JIT", "FORCE_CUDA", "PYTHONUNBUFFERED"):
            expect(os.environ.get(name), "1", name)
        return expect(os.environ.get("CUDA_HOME"), "/usr/local/cuda", "CUDA_HOME")

    def python() -> str:
        return expect(sys.version_info[:2], (3, 10), "Python")

    def versions() -> str:
        pinned = dict(re.findall(r"^    - ([\w-]+)==(\S+)$", (ROOT / "environment.yml").read_text(), re.MULTILINE))
        wrong = [
            f"{name} {found} for {version}" for name, version in pinned.items() if (found := _version(name)) != version
        ]
        if wrong or not pinned:
            raise AssertionError(f"not as pinned: {', '.join(wrong) or 'nothing is pinned'}")
        return f"{len(pinned)} packages of pip as pinned"

    yield from (activated, variables, python, versions)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(absent)"


def compilers() -> Iterator[Callable[[], str]]:
    """nvcc of CUDA 12.4 and gcc 13.2: what the libraries are compiled with."""

    def nvcc() -> str:
        path = Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")) / "bin" / "nvcc"
        return expect(re.search(r"release ([\d.]+)", output(str(path), "--version"))[1], CUDA, "nvcc")

    def gcc() -> str:
        return expect(output("gcc", "-dumpfullversion").strip().rpartition(".")[0], "13.2", "gcc")

    yield from (nvcc, gcc)


def torch() -> Iterator[Callable[[], str]]:
    """PyTorch, its CUDA, the numpy that it was built for, and the driver."""

    def version() -> str:
        import numpy
        import torch
        import torchaudio
        import torchvision

        for module, expected in ((torch, "2.5.0"), (torchvision, "0.20.0"), (torchaudio, "2.5.0")):
            expect(module.__version__.partition("+")[0], expected, module.__name__)
        expect(numpy.__version__.partition(".")[0], "1", "numpy's major version")
        torch.from_numpy(numpy.ones(2))
        return expect(torch.version.cuda, CUDA, "torch's CUDA")

    def device() -> str:
        import torch

        needs_gpu()
        name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
        product = torch.ones(64, 64, device="cuda") @ torch.ones(64, 64, device="cuda")
        expect(float(product.sum()), 64.0**3, "a product on the GPU")
        driver = output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").split()[0]
        cudnn = torch.backends.cudnn.version()
        return f"{name}, capability {capability[0]}.{capability[1]}, driver {driver}, cuDNN {cudnn}"

    yield from (version, device)


def spconv() -> Iterator[Callable[[], str]]:
    """spconv and cumm: import without a compiler, headers there, a forward pass that compiles nothing."""

    def imports() -> str:
        import cumm
        import spconv
        import spconv.pytorch

        return f"spconv {spconv.__version__}, cumm {cumm.__version__}"

    def headers() -> str:
        folder = Path(importlib.util.find_spec("cumm").origin).parent
        found = list(folder.rglob("tensorview/tensorview.h")) or list(folder.rglob("tensorview/*.h"))
        if not found:
            raise AssertionError(f"no tensorview headers under {folder}")
        return str(found[0])

    def forward() -> str:
        import spconv.pytorch as sparse
        import torch

        needs_gpu()
        coords = torch.randint(0, 32, (2000, 3), device="cuda").unique(dim=0).int()
        coords = torch.nn.functional.pad(coords, (1, 0))
        features = torch.randn(len(coords), 16, device="cuda")
        clouds = sparse.SparseConvTensor(features, coords, [32, 32, 32], 1)
        layers = sparse.SparseSequential(
            sparse.SubMConv3d(16, 32, 3, bias=False, indice_key="a"),
            sparse.SparseConv3d(32, 32, 2, 2, indice_key="b"),
            sparse.SparseInverseConv3d(32, 16, 2, indice_key="b"),
        ).cuda()
        with torch.no_grad():
            out = layers(clouds).features
        torch.cuda.synchronize()
        if not bool(out.isfinite().all()):
            raise AssertionError("the forward pass gave values that are not finite")
        return f"forward pass of {len(out)} voxels"

    yield from (imports, headers, forward)


def geometric() -> Iterator[Callable[[], str]]:
    """PyTorch Geometric and its operators, on the GPU where there is one."""

    def imports() -> str:
        import torch_cluster
        import torch_geometric
        import torch_scatter
        import torch_sparse

        modules = (torch_geometric, torch_scatter, torch_cluster, torch_sparse)
        return ", ".join(f"{module.__name__} {module.__version__}" for module in modules)

    def scatter() -> str:
        import torch
        import torch_scatter

        device = "cuda" if torch.cuda.is_available() else "cpu"
        rows, index = torch.arange(6.0, device=device), torch.tensor([0, 0, 1, 1, 2, 2], device=device)
        expect(torch_scatter.scatter(rows, index, reduce="max").tolist(), [1.0, 3.0, 5.0], "scatter's maxima")
        return f"scatter on {device}"

    yield from (imports, scatter)


def libraries() -> Iterator[Callable[[], str]]:
    """pointops, pointgroup_ops and sparseops: loaded, with code for every architecture, and right."""

    def load() -> str:
        import pointgroup_ops_cuda
        import torch  # noqa: F401  before the extensions, which link to it

        expect(callable(pointgroup_ops_cuda.ballquery_batch_p), True, "pointgroup_ops_cuda.ballquery_batch_p")
        built = {name: importlib.import_module(extension).ARCHITECTURES for name, extension in LIBRARIES.items()}
        if len(set(built.values())) > 1:
            raise AssertionError(f"built for different architectures: {built}")
        return f"built for {built['pointops']}"

    def machine_code() -> str:
        expected = {f"sm_{entry.replace('.', '')}" for entry in _architectures()}
        if os.environ.get("FORCE_CUDA") != "1" or not expected:
            raise Absent("built without CUDA")
        import torch  # noqa: F401

        for name, extension in LIBRARIES.items():
            command = ["cuobjdump", "--list-elf", importlib.import_module(extension).__file__]
            done = subprocess.run(
                command, capture_output=True, text=True
            )  # fails where there is no machine code at all
            missing = expected - set(re.findall(r"sm_\d+", done.stdout))
            if missing:
                raise AssertionError(f"{name} has no machine code for {', '.join(sorted(missing))}")
        return " ".join(sorted(expected))

    def compute() -> str:
        from app.diagnostics.operators import check_library

        checks = [check for name in LIBRARIES for check in check_library(name)["checks"]]
        wrong = [f"{check['operator']} on {check['device']}" for check in checks if not check["ok"]]
        if wrong:
            raise AssertionError(f"wrong: {', '.join(wrong)}")
        return f"{len(checks)} checks on {', '.join(sorted({check['device'] for check in checks}))}"

    yield from (load, machine_code, compute)


def _architectures() -> list[str]:
    listed = os.environ.get("TORCH_CUDA_ARCH_LIST", "").replace(" ", ";").split(";")
    return [entry.removesuffix("+PTX") for entry in listed if entry]


def attention() -> Iterator[Callable[[], str]]:
    """flash-attn: import, and a pass on GPUs that it has code for (8.0 and newer)."""

    def imports() -> str:
        import flash_attn

        return f"flash_attn {flash_attn.__version__}"

    def forward() -> str:
        import torch

        needs_gpu()
        if torch.cuda.get_device_capability() < (8, 0):
            raise Absent("flash-attn has no code for this GPU; networks run with enable_flash=False")
        from flash_attn import flash_attn_func

        q, k, v = torch.randn(3, 1, 128, 4, 32, device="cuda", dtype=torch.float16)
        expected = torch.nn.functional.scaled_dot_product_attention(*(x.transpose(1, 2).float() for x in (q, k, v)))
        error = float((flash_attn_func(q, k, v).float() - expected.transpose(1, 2)).abs().max())
        if error > 1e-2:
            raise AssertionError(f"off by {error:.2g}")
        return f"within {error:.1g} of torch's attention"

    yield from (imports, forward)


def pointcept() -> Iterator[Callable[[], str]]:
    """The other libraries that Pointcept imports, and Pointcept itself."""

    def imports() -> str:
        for name in POINTCEPT_NEEDS:
            importlib.import_module(name)
        return " ".join(POINTCEPT_NEEDS)

    def on_path() -> str:
        spec = importlib.util.find_spec("pointcept")
        if spec is None or not spec.submodule_search_locations:
            raise AssertionError("pointcept is not on PYTHONPATH")
        return next(iter(spec.submodule_search_locations))

    def models() -> str:
        importlib.import_module("pointcept.models")
        return "pointcept.models"

    yield from (imports, on_path, models)


def service() -> Iterator[Callable[[], str]]:
    """pointserve itself: its own report, and a cloud classified."""

    def diagnose() -> str:
        from app.diagnostics.report import report

        problems = report(limit_s=LIMIT_S / 2)["problems"]  # more than the command's: a first start reads gigabytes
        wrong = [f"{problem['part']}: {problem['problem']}" for problem in problems if problem["required"]]
        if wrong:
            raise AssertionError("; ".join(wrong))
        return "all that serving needs is in place"

    def predict() -> str:
        folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"stack-check-{os.getpid()}"
        folder.mkdir()
        try:
            output(_pointserve(), "sample", "--size-m", "20", str(folder / "tile.laz"))
            output(_pointserve(), "predict", str(folder / "tile.laz"), "-o", str(folder / "out.laz"))
            return f"{(folder / 'out.laz').stat().st_size} bytes of a classified tile"
        finally:
            shutil.rmtree(folder)

    yield from (diagnose, predict)


def _pointserve() -> str:
    return str(Path(sys.executable).with_name("pointserve"))


PARTS: dict[str, Callable[[], Iterator[Callable[[], str]]]] = {
    part.__name__: part
    for part in (environment, compilers, torch, spconv, geometric, libraries, attention, pointcept, service)
}


def run_part(name: str) -> int:
    """In a child: run the checks of one part, a line each; the number that failed."""
    failed = 0
    for check in PARTS[name]():
        try:
            mark, found = "ok", check()
        except Absent as reason:
            mark, found = "skipped", str(reason)
        except Exception as error:
            failed += 1
            kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
            mark, found = "FAILED", f"{kind}{error}"
        print(f"{mark:8}{name}.{check.__name__}: {found}", flush=True)
    return failed


def main() -> int:
    """Run the parts that were asked for; the exit code."""
    parser = argparse.ArgumentParser(prog="test_cuda124_stack.sh", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--in-process", choices=PARTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_process:
        return min(run_part(arguments.in_process), 1)
    failed = []
    for name in arguments.only or PARTS:
        try:
            code = subprocess.run(
                [sys.executable, __file__, "--in-process", name], stdin=subprocess.DEVNULL, timeout=LIMIT_S
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
        if code:
            failed.append(name)
        if code not in (0, 1):
            print(f"FAILED  {name}: ended with exit code {code}", flush=True)
    print(f"failed: {', '.join(failed)}" if failed else "all checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
