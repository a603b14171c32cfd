"""What reading and writing take: ``python peak.py FOLDER`` prints, for every file there, estimates and what it took.

Each file is read in a process of its own, a copy of one that has imported all there is to import.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np

from app.clouds import catalog, formats
from app.clouds.cloud import Segmentation, SegmentationMeta
from app.engine.packed import pack_cloud
from tests.clouds.cloud_samples import CLASSES


def highest_bytes() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def taken_by(work: object) -> tuple[int, object]:
    """Bytes that ``work()`` took at its highest beyond those before, and its result."""
    Path("/proc/self/clear_refs").write_text("5")
    before = highest_bytes()
    result = work()
    return highest_bytes() - before, result


def segmentation_of(num_points: int) -> Segmentation:
    rng = np.random.default_rng(0)
    shares = rng.uniform(size=(num_points, len(CLASSES))).astype(np.float32)
    rgb = rng.integers(0, 256, (num_points, 3)).astype(np.uint8)
    return Segmentation(
        shares.argmax(1).astype(np.int32),
        SegmentationMeta(CLASSES),
        {
            "confidence": shares[:, 0].copy(),
            "probabilities": shares,
            "entropy": shares[:, 1].copy(),
            "features_rgb": rgb,
        },
    )


def measure(path: Path) -> dict:
    data = memoryview(path.read_bytes())
    how = {"filename": path.name, "keep": None}
    if path.suffix == ".bin":
        how["columns"] = ("x", "y", "z", "intensity", "ring")
    needs = formats.reading_needs(data, **how)
    work, cloud = taken_by(lambda: formats.read(data, **how))
    size = os.fstat(pack_cloud(cloud).fd).st_size
    told = {
        "read": [needs.work_bytes, work],
        "cloud": [needs.cloud_bytes, size],
        "points": [needs.num_points, len(cloud)],
    }
    segmentation = segmentation_of(len(cloud))
    for output in catalog.WRITERS:
        source = data if catalog.keeps_source(output, cloud.format) else None
        if source is None and path.stem != "columns":
            continue
        stated, stated_size = formats.writing_needs(output, cloud, segmentation, source)
        work, answer = taken_by(lambda output=output: formats.write(output, cloud, segmentation, data))
        told[output] = [stated, work]
        told[f"size of {output}"] = [stated_size, len(answer)]
        del answer
    return told


def main() -> None:
    catalog.load_all()
    for path in sorted(Path(sys.argv[1]).iterdir()):
        reader, writer = os.pipe()
        if not os.fork():
            os.write(writer, json.dumps({path.name: measure(path)}).encode())
            os._exit(0)
        os.close(writer)
        with open(reader) as pipe:
            print(pipe.read(), flush=True)
        os.wait()


if __name__ == "__main__":
    main()
