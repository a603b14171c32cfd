"""How the service and surveys scale with the number of devices of this machine.

    python -m benchmarks.scaling [--devices cuda | cpu] [--parts service survey] [--limit-s 540] [--output FOLDER]

takes the first 1, 2, 4 … of all GPUs, and prints tables in Markdown, which it also writes as scaling.md into
``--output``:

- "service": clients in processes of their own send clouds, each of a size of its own, to a service with an engine a
  device. Answers are counted that ended within ``--seconds``, after ``--warm-s`` of the same load.
- "survey": ``pointserve batch`` over tiles side by side. Some are made as ``pointserve sample`` makes them, the others
  are copies with another place in their headers. The rate is that between the first and the last answer; "with
  context" counts the points of neighbours that the networks saw as well. If Ray is installed, again on a cluster of
  this machine. 500 tiles of 1 million points are the full run.

With ``--against ../before`` surveys run in another checkout, too, in turns. With ``--light`` networks see voxels of 8 m
and read little of the points, so that a machine without a GPU shows what driver and readers take for a million points.

"times one" compares with one device. "network" is the share of the time in which networks run on each device, as the
service measures it. "cores" of web process (or driver), readers, engines and clients are seconds of processor a second;
"cores busy" is the mean of all cores with the least and the most.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from benchmarks import scaling_service, scaling_survey
from benchmarks.scannet import NETWORKS
from benchmarks.table import Table
from benchmarks.timing import machine

PARTS = {"service": scaling_service.measure, "survey": scaling_survey.measure}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--counts", type=int, nargs="+", help="of devices (default: 1, 2, 4 … all)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--models", nargs="+", choices=("bundled", *NETWORKS), default=["PT-v3m1", "bundled"])
    parser.add_argument("--limit-s", type=float, default=540.0, help="begin nothing later; surveys end then")
    parser.add_argument("--output", type=Path, help="folder for scaling.md")
    service = parser.add_argument_group("service")
    service.add_argument("--formats", nargs="+", choices=("npy", "laz"), default=["npy", "laz"])
    service.add_argument("--points", type=int, nargs="+", default=[200_000, 1_000_000])
    service.add_argument("--clients", type=int, default=16, help="a device")
    service.add_argument("--client-processes", type=int, default=4, help="a device")
    service.add_argument("--laz-points", type=int, default=100_000_000, help="of all files of a size (default: 100 M)")
    service.add_argument("--seconds", type=float, default=4.0, help="of each load")
    service.add_argument("--warm-s", type=float, default=1.5)
    survey = parser.add_argument_group("survey")
    survey.add_argument("--tiles", type=int, default=500)
    survey.add_argument("--survey-format", choices=("laz", "las"), default="laz")
    survey.add_argument("--made", type=int, default=32, help="tiles that differ in more than their place")
    survey.add_argument("--tile-points", type=int, default=1_000_000)
    survey.add_argument("--density", type=float, default=8.0, help="points a square metre")
    survey.add_argument("--survey-s", type=float, default=600.0, help="end each run after so long")
    survey.add_argument("--without-ray", action="store_true")
    survey.add_argument(
        "--against", type=Path, help="another checkout, whose surveys are measured beside those of this"
    )
    survey.add_argument("--light", action="store_true", help="networks take next to nothing")
    survey.add_argument("--buffers-m", type=float, nargs="+", default=[None], help="(default: what the model needs)")
    survey.add_argument("--repeats", type=int, default=1, help="of each survey")
    arguments = parser.parse_args()
    num_devices = torch.cuda.device_count() if arguments.devices == "cuda" else 1
    arguments.counts = arguments.counts or counts(num_devices)
    arguments.end_s = time.monotonic() + arguments.limit_s
    name = torch.cuda.get_device_name(0) if arguments.devices == "cuda" else "processors"
    text = f"# The service and surveys by the number of devices\n\n{num_devices} × {name}; {machine()}.\n\n"
    text += "`benchmarks/scaling.py` says what is what.\n"
    with tempfile.TemporaryDirectory() as folder:
        for part in arguments.parts:
            rows, notes = PARTS[part](arguments, Path(folder))
            text += f"\n{Table(part.capitalize(), rows, notes)}"
            if arguments.output:
                arguments.output.mkdir(parents=True, exist_ok=True)
                (arguments.output / "scaling.md").write_text(text)
    print(f"\n{text}")


def counts(num_devices: int) -> list[int]:
    """1, 2, 4 … ``num_devices``."""
    return sorted({*(1 << power for power in range(num_devices.bit_length())), num_devices})


if __name__ == "__main__":
    main()
