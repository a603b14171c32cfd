"""A survey on a real Ray cluster of several nodes on this machine."""

from contextlib import contextmanager

import pytest
import ray
from ray.cluster_utils import Cluster

from app.engine.service import Service
from app.options import Options
from app.settings import Settings
from app.survey import survey
from app.survey.local import LocalWorkers
from app.survey.manifest import Manifest
from app.survey.plan import Plan, Wanted
from app.survey.ray_workers import RayWorkers
from app.survey.row import State
from app.survey.runner import Runner
from tests.survey.survey_files import las
from tests.survey.survey_store import object_store, use

NODE = {"num_cpus": 1, "num_gpus": 0, "memory": 4 << 30, "object_store_memory": 100 << 20}
BUFFER_M = 20.0


@pytest.fixture(scope="module")
def endpoint():
    """The address of a store that the nodes find in their environment."""
    with object_store() as url, pytest.MonkeyPatch.context() as patch:
        use(url, patch)
        yield url


@pytest.fixture(scope="module")
def cluster(endpoint):
    head = {**NODE, "include_dashboard": False, "_system_config": {"health_check_timeout_ms": 120_000}}
    found = Cluster(initialize_head=True, head_node_args=head)
    found.add_node(**NODE)
    yield found
    ray.shutdown()
    found.shutdown()


@pytest.fixture
def tiles(tmp_path):
    """A folder with nine tiles that touch, one of them cut off."""
    folder = tmp_path / "tiles"
    folder.mkdir()
    for column in range(3):
        for row in range(3):
            data = las(column, row, num_points=3000, compressed=True)
            (folder / f"{column}_{row}.laz").write_bytes(data[:-500] if (column, row) == (2, 2) else data)
    return folder


@contextmanager
def run(tiles, out, workers, on_progress=lambda progress: None, folder=None):
    """The manifest, in ``folder`` or with the answers, after ``workers`` have labelled ``tiles``."""
    with Manifest.create(folder or out) as manifest:
        wanted = Wanted(str(out), Options(), "{stem}{suffix}", BUFFER_M, False, False)
        survey.read(manifest, [str(tiles)], wanted)
        plan = Plan(manifest, workers.model(Options()), wanted)
        Runner(manifest, plan, workers, on_progress).run()
        yield manifest


def answers(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.laz")}


def rows(manifest):
    return {row.tile.name: row for row in manifest.rows()}


@pytest.fixture
def local(tiles, tmp_path):
    """Answers of workers of this machine."""
    settings = Settings(device="cpu", threads=1)
    service = Service(settings)
    service.start()
    try:
        with run(tiles, tmp_path / "local", LocalWorkers(service, settings)):
            return answers(tmp_path / "local")
    finally:
        service.stop(0.0)


def test_nodes_of_a_cluster_give_the_answers_of_this_machine_also_if_one_is_lost(cluster, tiles, local, tmp_path):
    assert len(local) == 8
    settings = Settings(device="cpu")
    with run(tiles, tmp_path / "ray", RayWorkers(cluster.address, settings)) as manifest:
        found = rows(manifest)
        assert answers(tmp_path / "ray") == local
        assert found["2_2.laz"].state is State.FAILED
        done = [row for row in found.values() if row.state is State.DONE]
        assert len(done) == 8
        assert all(row.attempts == 1 and row.context_points > 0 for row in done)

    lost = cluster.add_node(**NODE)

    def lose_a_node(progress):
        if lost in cluster.worker_nodes:  # the first step has ended, and most tiles are to come
            cluster.remove_node(lost, allow_graceful=False)

    workers = RayWorkers(cluster.address, settings)
    with run(tiles, tmp_path / "lossy", workers, lose_a_node) as manifest:
        assert lost not in cluster.worker_nodes
        assert answers(tmp_path / "lossy") == local
        assert sum(row.state is State.DONE for row in rows(manifest).values()) == 8


def test_nodes_put_answers_into_a_store(cluster, store, tiles, local, tmp_path):
    for path in tiles.iterdir():
        store.pipe_file(f"tiles/in/{path.name}", path.read_bytes())
    out = "s3://tiles/out"
    with run("s3://tiles/in", out, RayWorkers(cluster.address, Settings(device="cpu")), folder=tmp_path) as manifest:
        done = [row for row in manifest.rows() if row.state is State.DONE]
        assert {row.output for row in done} == {f"{out}/{name}" for name in local}
        assert {row.tile.name: store.cat_file(row.output) for row in done} == local
