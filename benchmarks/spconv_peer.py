"""spconv's submanifold convolution in a process of its own, so that its number of threads is its own."""

import os
import subprocess
import sys
import tempfile

import torch
from torch import Tensor


class Peer:
    """spconv's submanifold convolution of the same features and weight, in a process with ``threads`` threads."""

    def __init__(self, coords: Tensor, features: Tensor, weight: Tensor, threads: int):
        self.file = tempfile.NamedTemporaryFile(suffix=".pt")  # noqa: SIM115
        torch.save((coords, features, weight), self.file.name)
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.file.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": str(threads)},
        )

    def run(self, command: str = "run") -> str:
        """Once, its kernel map known from the first time; the file with its result where the command is "save"."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith("done"):
                return line[5:-1]
        raise RuntimeError("spconv ended")

    def error(self, expected: Tensor) -> float:
        """Largest difference of its results of five runs from ``expected``."""
        return max(float((torch.load(self.run("save")).double() - expected).abs().max()) for _ in range(5))

    def close(self) -> None:
        """End the process."""
        self.process.communicate()
        self.file.close()


def serve_peer(path: str) -> None:
    """The other side of ``Peer``."""
    import spconv.pytorch as spconv

    coords, features, weight = torch.load(path)
    conv = spconv.SubMConv3d(weight.shape[4], weight.shape[0], 3, bias=False, indice_key="map")
    shape = (coords.amax(0)[1:] + 1).tolist()
    known: dict = {}
    with torch.inference_mode():
        conv.weight.copy_(weight)
        for command in sys.stdin:
            cloud = spconv.SparseConvTensor(features, coords.int(), shape, 1, indice_dict=known)
            out = conv(cloud)
            known = out.indice_dict
            if command == "save\n":
                torch.save(out.features, path)
            print("done", path, flush=True)


if __name__ == "__main__":
    serve_peer(sys.argv[1])
