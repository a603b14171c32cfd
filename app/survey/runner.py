"""The driver of a survey: it has workers decode, label and write one tile after the other, and keeps the manifest."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from app.clouds.strips import ring_width
from app.errors import NoRoom, Problem
from app.survey.answers import PARTIAL
from app.survey.inbox import Done, Inbox
from app.survey.kept import Kept
from app.survey.manifest import Manifest
from app.survey.plan import Plan
from app.survey.progress import Progress
from app.survey.retries import Retries
from app.survey.row import State
from app.survey.tile import Tile
from app.survey.workers import DecodedTile, Ring, Task, TileResult, Workers

LOOK_S = 0.5  # between two reports of progress
GATHER_S = 1e-5  # for each tile under way: a round waits so long for more to end, because it looks at all of them
BYTES_A_POINT = 8  # of a file whose header does not tell how many points it has
MARGIN_M = 0.001


@dataclass(eq=False)
class _Active:
    """A tile under way."""

    number: int
    tile: Tile
    num_points: int
    neighbours: list[int]
    task: Task
    begin_s: float = field(default_factory=time.monotonic)
    is_asked: bool = False
    lacking: list[int] = field(default_factory=list)
    used: tuple[DecodedTile, list[Ring]] | None = None


class Runner:
    """One run over a planned survey. ``run`` belongs to the thread of the manifest; ``stop`` is for any thread."""

    def __init__(
        self,
        manifest: Manifest,
        plan: Plan,
        workers: Workers,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ):
        """``on_progress`` is called after each step, and now and then between."""
        self.progress = Progress(int(plan.is_wanted.sum()), int(plan.num_points[plan.is_wanted].sum()))
        self._manifest = manifest
        self._plan = plan
        self._workers = workers
        self._on_progress = on_progress
        self._partial = manifest.folder / PARTIAL
        self._inbox = Inbox()
        self._stopping = threading.Event()
        self._kept = Kept()
        self._active: dict[int, _Active] = {}
        self._active_points = 0
        self._decoding: set[int] = set()
        self._broken: dict[int, tuple[State, str]] = {}  # tiles that cannot be decoded, and why
        self._without_ring: set[int] = set()  # those, and tiles without points
        self._retries = Retries()
        self._order: Iterator[int] = iter(())
        self._uses = np.zeros(len(plan), np.int32)  # tiles to come that need the ring of each
        self._tile = lru_cache(4096)(self._read_tile)

    def run(self) -> Progress:
        """Label every tile that the plan wants; returns when all have ended, or after ``stop`` or a full disk."""
        begin_s = time.monotonic()
        self._order = self._plan.order()
        for number in self._plan.order():
            self._uses[self._plan.index.neighbours(number)] += 1
        shutil.rmtree(self._partial, ignore_errors=True)
        try:
            while not self._stopping.is_set():
                self._activate()
                self._ask()
                if not self._active:
                    break
                self._hear()
                self.progress.seconds = time.monotonic() - begin_s
                self._on_progress(self.progress)
        except NoRoom as problem:
            self.stop(problem.detail)
        finally:
            with suppress(NoRoom):  # what is not written now is not known the next time
                self._end()
            self.progress.seconds = time.monotonic() - begin_s
        return self.progress

    def stop(self, reason: str = "It was stopped.") -> None:
        """End the run soon: what is done stays done, what is under way is pending again."""
        self.progress.stopped = self.progress.stopped or reason
        self._stopping.set()
        self._inbox.wake()

    def _activate(self) -> None:
        """Begin the next tiles, as many as the workers have room for."""
        while self._has_room():
            number = next(self._order, None)
            if number is None:
                return
            tile = self._tile(number)
            output, options = self._plan.wanted.output_of(tile), self._plan.options_for(tile)
            near = [int(each) for each in self._plan.index.neighbours(number)]
            near.sort(key=lambda each: self._tile(each).name)
            frame = self._plan.frame(number) if tile.bounds else None
            task = Task(output, str(self._partial), options.output or "", options, self._plan.buffer_m, frame)
            num_points = tile.num_points or tile.num_bytes // BYTES_A_POINT
            active = self._active[number] = _Active(number, tile, num_points, near, task)
            self._active_points += num_points
            self._manifest.start(self._id(number))
            if tile.error:
                self._fail(active, tile.error)
            elif number in self._plan.clashes:
                self._fail(active, f"{output} is the answer of another tile already; choose another --name.")
            elif number in self._broken:
                state, reason = self._broken[number]
                self._fail(active, reason, state)

    def _has_room(self) -> bool:
        if not self._active:
            return True
        capacity = self._workers.capacity
        return (
            len(self._active) < capacity.labels + capacity.decodes
            and self._active_points < capacity.points
            and self._kept.num_bytes < capacity.kept_bytes
        )

    def _ask(self) -> None:
        """Ask for what the tiles under way need next."""
        capacity = self._workers.capacity
        num_asked = sum(each.is_asked for each in self._active.values())
        for active in list(self._active.values()):
            if active.is_asked:
                continue
            rings = [number for number in active.neighbours if number not in self._without_ring]
            needed = [number for number in rings if number not in self._kept.rings]
            needed += [active.number] * (active.number not in self._kept.clouds)
            for number in needed:
                if number in self._decoding or len(self._decoding) >= capacity.decodes:
                    continue
                if self._retries.is_due(number):
                    self._decode(number)
            if not needed and num_asked < capacity.labels and self._retries.is_due(active.number):
                self._label(active, rings)
                num_asked += 1

    def _decode(self, number: int) -> None:
        tile = self._tile(number)
        self._decoding.add(number)
        future = self._workers.decode(tile, self._ring_m(number), self._plan.options_for(tile))
        self._inbox.watch("decoded", number, tile.name, future)

    def _label(self, active: _Active, rings: list[int]) -> None:
        active.is_asked = True
        active.lacking = [number for number in active.neighbours if number in self._broken]
        active.used = self._kept.used(active.number, rings)
        future = self._workers.label(active.tile, *active.used, active.task)
        self._inbox.watch("labelled", active.number, active.tile.name, future)

    def _hear(self) -> None:
        """Wait for what ends next, and note it with all that ended meanwhile."""
        for done in self._inbox.wait(LOOK_S, GATHER_S * len(self._active)):
            self._note(done)
        active = list(self._active.values())
        capacity = self._workers.capacity
        if self._kept.exceeds(capacity):
            rings = {number for each in active for number in each.neighbours}
            self._kept.shrink(capacity, {each.number for each in active}, rings)
        self.progress.names = [each.tile.name for each in active]

    def _note(self, done: Done) -> None:
        if done.work == "decoded":
            self._decoding.discard(done.number)
            self._note_decoded(done.number, done.outcome)
        else:
            self._note_labelled(self._active[done.number], done.outcome)

    def _note_decoded(self, number: int, outcome: DecodedTile | Problem) -> None:
        if not isinstance(outcome, Problem):
            is_to_come = bool(self._plan.is_wanted[number])
            if outcome.ring is None:
                self._without_ring.add(number)
            self._kept.add(number, outcome, keeps_cloud=is_to_come, keeps_ring=self._uses[number] > 0)
            return
        state = self._state_after(number, outcome)
        if state is State.PENDING:
            return
        self._broken[number] = (state, outcome.detail)
        self._without_ring.add(number)
        active = self._active.get(number)
        if active and not active.is_asked:
            self._fail(active, outcome.detail, state)

    def _note_labelled(self, active: _Active, outcome: TileResult | Problem) -> None:
        active.is_asked = False
        if active.used:
            self._kept.free(*active.used)
        if isinstance(outcome, Problem):
            state = self._state_after(active.number, outcome)
            if state is not State.PENDING:
                self._fail(active, outcome.detail, state)
                return
            self._kept.drop(active.number)  # a lost worker may have had it, or the rings
            for number in active.neighbours:
                self._kept.drop_ring(number)
            return
        lacking = [self._tile(number).name for number in active.lacking]
        for number in active.lacking:
            outcome.warnings.append(f"{self._tile(number).name} gives no context: {self._broken[number][1]}")
        basis = self._plan.basis(active.number)
        self._manifest.finish(self._id(active.number), outcome, basis, time.monotonic() - active.begin_s, lacking)
        self.progress.num_done += 1
        self.progress.points_done += outcome.num_points
        self.progress.bytes_done += outcome.num_bytes
        self.progress.points_by_worker[outcome.worker] += outcome.num_points
        self._leave(active)

    def _state_after(self, number: int, problem: Problem) -> State:
        """What a tile is after ``problem``; PENDING if it is tried again."""
        if self._stopping.is_set():
            return State.PENDING
        if isinstance(problem, NoRoom):
            self.stop(problem.detail)
            return State.PENDING
        return self._retries.state_after(number, problem)

    def _fail(self, active: _Active, reason: str, state: State = State.FAILED) -> None:
        basis = self._plan.basis(active.number)
        self._manifest.fail(self._id(active.number), reason, time.monotonic() - active.begin_s, state, basis)
        self.progress.num_failed += 1
        self._leave(active)

    def _leave(self, active: _Active) -> None:
        """``active`` has ended: let go of what nobody needs any more."""
        del self._active[active.number]
        self._active_points -= active.num_points
        self._plan.is_wanted[active.number] = False
        self._kept.drop_cloud(active.number)
        self._uses[active.neighbours] -= 1
        for number in (active.number, *active.neighbours):
            if self._uses[number] <= 0:
                self._kept.drop_ring(number)
                if not self._plan.is_wanted[number]:
                    self._forget(number)

    def _forget(self, number: int) -> None:
        """A tile is not needed any more, so neither is what was learnt of it."""
        self._without_ring.discard(number)
        self._broken.pop(number, None)
        self._retries.forget(number)

    def _end(self) -> None:
        """End what is under way; what was finished meanwhile counts."""
        self._workers.stop()
        self._stopping.set()
        for done in self._inbox.rest():
            with suppress(NoRoom):
                self._note(done)
        self._kept.close()
        shutil.rmtree(self._partial, ignore_errors=True)
        self._manifest.reset(self._id(number) for number in self._active)
        if self.progress.points_done:
            self._manifest.set(points_s=self.progress.points_s)

    def _ring_m(self, number: int) -> float:
        """Width of the ring that holds all points of a tile within the buffer of a neighbour, if they overlap too."""
        tile, near = self._tile(number), self._plan.index.neighbours(number)
        if not len(near) or tile.bounds is None:
            return 0.0
        metres = (tile.metres_per_unit or (1.0, 1.0))[0]
        others = np.array([self._tile(int(each)).bounds for each in near])
        return ring_width(tile.bounds, others, self._plan.buffer_m / metres) * metres + MARGIN_M

    def _id(self, number: int) -> int:
        return int(self._plan.ids[number])

    def _read_tile(self, number: int) -> Tile:
        return self._manifest.tile(self._id(number))
