"""Decoded tiles and rings that the driver keeps."""

from concurrent.futures import Future
from dataclasses import dataclass, replace

import pytest

from app.errors import NotReady
from app.options import Options
from app.survey.kept import Kept
from app.survey.manifest import Manifest
from app.survey.plan import Plan, Wanted
from app.survey.runner import Runner
from app.survey.tile import Tile
from app.survey.workers import Capacity, Model, TileResult


@dataclass(eq=False)
class Handle:
    """A decoded tile, or a ring."""

    ring: "Handle | None" = None
    num_points: int = 5
    num_bytes: int = 100
    is_closed: bool = False

    def close(self):
        self.is_closed = True


CAPACITY = Capacity(decodes=4, labels=4, points=100, kept_bytes=1 << 20, handles=50)


@pytest.fixture
def kept():
    """Two tiles and their rings."""
    found = Kept()
    for number in range(2):
        found.add(number, Handle(Handle()), keeps_cloud=True, keeps_ring=True)
    return found


def test_what_is_dropped_while_it_is_used_stays_open_until_all_are_done_with_it(kept):
    first, second = kept.used(0, [1]), kept.used(1, [1])
    ring = kept.rings[1]
    kept.drop(1)
    kept.drop_ring(0)
    assert kept.num_bytes == 300
    assert not kept.rings
    kept.free(*first)
    assert not ring.is_closed
    kept.free(*second)
    assert ring.is_closed
    assert second[0].is_closed
    assert not first[0].is_closed
    assert kept.num_bytes == 100


@pytest.mark.parametrize("bound", [{"handles": 2}, {"kept_bytes": 299}])
def test_what_is_too_much_is_closed_but_what_is_needed(kept, bound):
    clouds, rings = [{**each} for each in (kept.clouds, kept.rings)]
    capacity = replace(CAPACITY, **bound)
    assert kept.exceeds(capacity)
    kept.shrink(capacity, {1}, set())
    assert [each.is_closed for each in (*clouds.values(), *rings.values())] == [True, False, True, False]
    assert not kept.exceeds(capacity)


def test_at_the_end_all_is_closed(kept):
    handles = [*kept.clouds.values(), *kept.rings.values()]
    kept.used(0, [1])
    kept.drop(0)
    kept.close()
    assert all(each.is_closed for each in handles)
    assert (kept.num_bytes, len(kept.clouds), len(kept.rings)) == (0, 0, 0)


class SlowWorkers:
    """The first tile has to be asked for again, while the second one is being labelled."""

    capacity = CAPACITY

    def __init__(self):
        self.handles = []
        self.labels = []
        self.were_open = []

    def model(self, options):
        return Model("made up", "1", [{"id": 0, "name": "ground", "color": [0, 0, 0]}])

    def decode(self, tile, ring_m, options):
        decoded = Handle(Handle() if ring_m else None)
        self.handles += [decoded, decoded.ring]
        return ended(decoded)

    def label(self, tile, cloud, rings, task):
        future = Future()
        self.labels.append((future, [cloud, *rings], TileResult(cloud.num_points, task.output, 1, "", {0: 5})))
        if len(self.labels) == 2:
            self.labels[0][0].set_exception(NotReady("Later.", retry_after_s=0.01))
        if len(self.labels) == 3:
            self.were_open = [not each.is_closed for each in self.labels[1][1]]
            for waiting, _, result in self.labels[1:]:
                waiting.set_result(result)
        return future

    def stop(self):
        pass


def ended(result):
    future = Future()
    future.set_result(result)
    return future


def test_a_tile_that_is_tried_again_leaves_others_the_rings_that_they_use(tmp_path):
    tiles = [Tile(f"{x}.laz", f"/{x}.laz", "laz", 9, "1", 5, (x, 0.0, 0.0, x + 1.0, 1.0, 1.0)) for x in range(2)]
    workers = SlowWorkers()
    with Manifest.create(tmp_path) as manifest:
        manifest.plan(tiles)
        plan = Plan(manifest, workers.model(Options()), Wanted(str(tmp_path), Options(), buffer_m=1.0))
        done = Runner(manifest, plan, workers).run()
    assert done.num_done == 2
    assert workers.were_open == [True, True]
    assert all(each.is_closed for each in workers.handles)
