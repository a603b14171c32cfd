"""Known faults of builds and runs: how a message shows them, and what to do."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """``symptoms`` are regular expressions for the messages that it causes."""

    name: str
    symptoms: tuple[str, ...]
    remedy: str


ENVIRONMENT = Fault(
    "environment not activated",
    (r"conda: command not found", r"Run 'conda init' before 'conda activate'"),
    "Run `source /opt/conda/etc/profile.d/conda.sh` and `conda activate pointcept-torch2.5.0-cu12.4` first, or start "
    "the command through the entrypoint: `docker run … ml-service:conda-cuda124 COMMAND`.",
)
BUILD_MEMORY = Fault(
    "out of memory while building",
    (
        r"Killed signal terminated program",
        r"died due to signal 9",
        r"(cc1plus|cicc|ptxas|c\+\+|virtual memory).*(out of memory|exhausted)",
        r"exit code: 137",
    ),
    "Compile with fewer jobs: `docker build --build-arg MAX_JOBS=1 …`, or MAX_JOBS=1 in the environment where the "
    "libraries are installed. Each job takes up to 2 GB.",
)
BUILD = Fault(
    "extension does not compile",
    (
        r"CUDA_HOME environment variable is not set",
        r"unsupported GNU version",
        r"Unknown CUDA arch",
        r"Unsupported gpu architecture",
        r"detected CUDA version .* mismatches",
        r"nvcc.*: (command )?not found",
    ),
    "Look at three things: CUDA_HOME is the toolkit of torch's CUDA, TORCH_CUDA_ARCH_LIST names the GPU's compute "
    "capability, and gcc is 13.2 or older. In the image: `test_cuda124_stack.sh --only compilers`.",
)
EXTENSION = Fault(
    "extension missing",
    (r"No module named '(\w+\.(_C|_compiled)|pointgroup_ops_cuda|pointops|sparseops|pointgroup_ops)'",),
    "Install the libraries, after torch: in a checkout of pointserve, run `pip install --no-build-isolation --no-deps "
    "-e libs/sparseops -e libs/pointops -e libs/pointgroup_ops`.",
)
MKL = Fault(
    "MKL too new",
    (r"undefined symbol: iJIT_NotifyEvent",),
    "Keep `mkl=2024.0.0` in environment.yml, and build again.",
)
OTHER_TORCH = Fault(
    "extension of another torch",
    (r"undefined symbol", r"libc10\S*: cannot open shared object file", r"libtorch\S*: cannot open shared object file"),
    "The library was compiled for another torch: install it again with `--force-reinstall --no-build-isolation`, or "
    "take the wheel that names this torch.",
)
ARCHITECTURE = Fault(
    "architecture not compiled for this card",
    (r"no kernel image is available", r"is not compatible with the current PyTorch installation"),
    "Compile for its compute capability: name it in TORCH_CUDA_ARCH_LIST, such as 9.0, and build again; the GPU image "
    "does it at its start with INSTALL_POINTOPS_AT_RUNTIME=1. torch itself must have code for the card too.",
)
DRIVER = Fault(
    "driver too old",
    (
        r"CUDA runtime mismatch",
        r"CUDA driver version is insufficient",
        r"NVIDIA driver on your system is too old",
        r"unsatisfied condition: (cuda|driver)",
    ),
    "Install a newer driver on the host, where `nvidia-smi` shows it: CUDA 12.4 needs 525.60.13 or newer. Or serve on "
    "the processor with POINTSERVE_DEVICE=cpu.",
)
DEVICES_GONE = Fault(
    "NVML gone",
    (r"Failed to initialize NVML: (Unknown Error|Insufficient Permissions|The operating system has blocked)",),
    "`systemctl daemon-reload` on the host took the devices away from the container: start it again. For good, set "
    '"exec-opts": ["native.cgroupdriver=cgroupfs"] in /etc/docker/daemon.json and restart docker.',
)
DRIVER_UPDATED = Fault(
    "driver updated under a running kernel",
    (r"(Driver/library|NVML/RM) version mismatch",),
    "Reboot the host, or load its NVIDIA kernel modules again.",
)
TOOLKIT = Fault(
    "container toolkit missing",
    (r"could not select device driver", r"unknown or invalid runtime name: nvidia"),
    "Install NVIDIA's Container Toolkit on the host, run `nvidia-ctk runtime configure`, restart docker.",
)
FAULTS = (
    ENVIRONMENT,
    BUILD_MEMORY,
    BUILD,
    EXTENSION,
    MKL,
    OTHER_TORCH,
    ARCHITECTURE,
    DRIVER,
    DEVICES_GONE,
    DRIVER_UPDATED,
    TOOLKIT,
)


def recognise(message: str) -> Fault | None:
    """The first fault of ``FAULTS`` that ``message`` is a symptom of."""
    return next((fault for fault in FAULTS if any(re.search(symptom, message) for symptom in fault.symptoms)), None)


def explain(path: str) -> int:
    """Print each fault that the log at ``path`` shows, with its first line and remedy; 1 if there is one, else 0."""
    found: dict[Fault, str] = {}
    with open(path, errors="replace") as log:
        for line in log:
            fault = recognise(line)
            if fault:
                found.setdefault(fault, line.strip())
    for fault, line in found.items():
        print(f"{fault.name}: {line}\n  → {fault.remedy}")
    if not found:
        print("No fault that is known here shows in it.")
    return 1 if found else 0
