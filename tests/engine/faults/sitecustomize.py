"""Faults for engine processes whose PYTHONPATH has this folder: what a real device or driver does now and then.

A cloud asks for a fault by the x of its normals, which is the fourth feature of the test model.
"""

import importlib.abc
import importlib.util
import os
import signal
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ.get("FAULT_FOLDER", "/nowhere"))

broken: list[str] = []


def kill(num_voxels: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop(num_voxels: int) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def hang(num_voxels: int) -> None:
    while True:
        time.sleep(1)


def break_device_once(num_voxels: int) -> None:
    if not (FOLDER / "broken").exists():
        (FOLDER / "broken").touch()
        broken.append("CUDA error: an illegal memory access was encountered")


def want_memory(num_voxels: int) -> None:
    if num_voxels > 3000:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")


def want_all_memory(num_voxels: int) -> None:
    raise MemoryError


def wait_for_go(num_voxels: int) -> None:
    (FOLDER / "waits").touch()
    while not (FOLDER / "go").exists():
        time.sleep(0.01)


def misbehave(num_voxels: int) -> None:
    raise ValueError("a bug that no check caught")


def end_thread_once(num_voxels: int) -> None:
    if not (FOLDER / "ended").exists():
        (FOLDER / "ended").touch()
        raise SystemExit  # which ends a thread without a word


KNOWN = [
    kill,
    stop,
    hang,
    break_device_once,
    want_memory,
    want_all_memory,
    wait_for_go,
    misbehave,
    end_thread_once,
]
FAULTS = dict(enumerate(KNOWN, start=101))


class Faulty(importlib.abc.MetaPathFinder):
    """Puts the faults before a pass of the network, once its module is imported."""

    def find_spec(self, name, path, target=None):
        if name != "app.pipeline.inference":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            logits = module.Inference.logits

            def faulty(self, feat, plan, run):
                for code, fault in FAULTS.items():
                    if (feat[:, 3] == code).any():
                        fault(len(feat))
                if broken:  # for good, as a context of CUDA is
                    raise RuntimeError(broken[0])
                return logits(self, feat, plan, run)

            module.Inference.logits = faulty

        spec.loader.exec_module = exec_module
        return spec


if "app.engine.process" in sys.orig_argv:
    if (FOLDER / "dies-at-start").exists():
        os._exit(3)
    sys.meta_path.insert(0, Faulty())
