"""Child process: imports torch and answers with what it can do on this machine."""

from typing import Any

from .attempt import answer
from .faults import ARCHITECTURE


def compute() -> dict[str, Any]:
    """``torch`` (versions, threads, architectures) and ``devices``, one entry for every CUDA device."""
    import torch

    cuda_works = torch.cuda.is_available()
    architectures = torch.cuda.get_arch_list() if cuda_works else []
    return {
        "torch": {
            "state": "ok",
            "version": torch.__version__,
            "cuda": torch.version.cuda,
            "cudnn": _dotted(torch.backends.cudnn.version()) if torch.version.cuda else None,
            "cuda_available": cuda_works,
            "architectures": architectures,
            "threads": torch.get_num_threads(),
        },
        "devices": [_device(torch, index, architectures) for index in range(torch.cuda.device_count())]
        if cuda_works
        else [],
    }


def _device(torch: Any, index: int, architectures: list[str]) -> dict[str, Any]:
    facts = torch.cuda.get_device_properties(index)
    uuid = getattr(facts, "uuid", None)
    entry = {
        "index": index,
        "name": facts.name,
        "uuid": f"GPU-{uuid}" if uuid else None,
        "memory_bytes": facts.total_memory,
        "compute_capability": f"{facts.major}.{facts.minor}",
        "supported": is_supported((facts.major, facts.minor), architectures),
    }
    if not entry["supported"]:
        entry["reason"] = (
            f"this torch has code for {', '.join(architectures)}; none of it runs on "
            f"compute capability {entry['compute_capability']}"
        )
        entry["fault"] = ARCHITECTURE.name
        entry["remedy"] = (
            "Install a torch build made for this GPU (https://pytorch.org/get-started), "
            "or serve on the processor with POINTSERVE_DEVICE=cpu."
        )
    return entry


def is_supported(capability: tuple[int, int], architectures: list[str]) -> bool:
    """Whether code for ``architectures`` (sm_80, sm_90a, compute_90 …) runs on a device of ``capability``.

    Machine code runs on the same major version with an equal or higher minor one (sm_90a on 9.0 only);
    intermediate code (compute_) on every later device.
    """
    for architecture in architectures:
        kind, _, number = architecture.partition("_")
        digits = number.rstrip("af")
        major, minor = int(digits[:-1]), int(digits[-1])
        if kind == "compute" and digits == number and (major, minor) <= capability:
            return True
        if kind == "sm" and number.endswith("a") and (major, minor) == capability:
            return True
        if kind == "sm" and not number.endswith("a") and major == capability[0] and minor <= capability[1]:
            return True
    return False


def _dotted(cudnn: int | None) -> str | None:
    """9.1.0 from 90100, 8.9.2 from 8902."""
    if cudnn is None:
        return None
    base = 10000 if cudnn >= 90000 else 1000
    return f"{cudnn // base}.{cudnn % base // 100}.{cudnn % 100}"


if __name__ == "__main__":
    answer(compute)
