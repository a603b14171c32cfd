"""An engine process whose device sleeps in place of a network: it answers class 0 for every point.

    python -m benchmarks.sleeping_engine --fd N --heartbeat-fd M

is started by a service that ``benchmarks.sleeping_service`` runs, and speaks as ``app.engine.process`` does. How long a
batch takes is SLEEP_MS of its environment; each lane sleeps by itself.
"""

import argparse
import os
import socket
import threading
import time

import numpy as np

from app.clouds.cloud import ClassInfo, SegmentationMeta
from app.engine import arrays
from app.engine.channel import Channel, ChannelError, close_all
from app.engine.child import tie_to_parent
from app.engine.heartbeat import Heartbeat, Lane, Memory
from app.engine.model_card import ModelCard
from app.engine.protocol import Batch, Ready, Segmented

CLASSES = [ClassInfo(number, f"class {number}", (9 * number, 99, 199)) for number in range(20)]
CARD = ModelCard(
    "sleep", "", "semseg", "none", len(CLASSES), [{"id": each.id, "name": each.name} for each in CLASSES], ["coord"],
    0.02, 0, bytes_per_voxel=1, fields=["labels"], tile_voxels=400_000,
)  # fmt: skip
TIMINGS_MS = {"features": 1.0, "voxelize": 1.0, "plan": 1.0, "wait": 0.0, "network": 1.0, "project": 1.0}
MEMORY_BYTES = 1 << 40


def serve(channel: Channel, lane: Lane, sleep_s: float) -> None:
    """Answer every batch of one lane, then end the process."""
    try:
        while True:
            batch, fds = channel.receive()
            assert isinstance(batch, Batch)
            close_all(fds)
            lane.count_begun()
            time.sleep(sleep_s)
            for job in batch.jobs:
                num_points = job.layout[0].shape[0]
                fd, layout = arrays.pack({"labels": np.zeros(num_points, np.int32)})
                meta = SegmentationMeta(CLASSES, timings_ms=dict(TIMINGS_MS))
                channel.send(Segmented(job.job_id, layout, meta, num_points, len(batch.jobs)), [fd])
                os.close(fd)
    except ChannelError:
        os._exit(0)


def main() -> None:
    """Serve until the parent is gone."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--heartbeat-fd", type=int, required=True)
    arguments = parser.parse_args()
    tie_to_parent()
    heartbeat = Heartbeat(arguments.heartbeat_fd)
    heartbeat.memory = Memory(MEMORY_BYTES)
    heartbeat.keep_beating()
    channel, sleep_s = Channel(socket.socket(fileno=arguments.fd)), float(os.environ["SLEEP_MS"]) / 1000
    configure, _ = channel.receive()
    pairs = [Channel.pair() for _ in range(configure.settings.batches_in_flight("cpu") - 1)]
    channel.send(Ready("sleep", "a device that sleeps", 1, [CARD]), [theirs.fileno() for _, theirs in pairs])
    for number, (ours, _) in enumerate(pairs, 1):
        threading.Thread(target=serve, args=(ours, heartbeat.lanes[number], sleep_s), daemon=True).start()
    serve(channel, heartbeat.lanes[0], sleep_s)


if __name__ == "__main__":
    main()
