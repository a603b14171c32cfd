"""The manifest of a survey: a SQLite file that holds every tile and what became of it.

One driver writes it and holds its lock; any number of others may read it meanwhile. Every change is committed at once,
so it survives the end of the driver at any moment.
"""

import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from app.errors import BadRequest, NoRoom, NotFound
from app.survey.lock import lock_of
from app.survey.row import PLACED, Row, State, row_of, tile_of
from app.survey.tile import Tile
from app.survey.workers import TileResult

FILE = "survey.db"
VERSION = 2  # of the tables
SUMS = ("counts", "agreement", "refined", "warnings", "timings_ms")  # of a ``TileResult``, as JSON
BUSY_S = 30.0  # that a reader may hold up the driver, or the other way round

_TABLES = """
CREATE TABLE survey (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE tile (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    plan INTEGER NOT NULL,
    path TEXT NOT NULL,
    format TEXT NOT NULL,
    num_bytes INTEGER NOT NULL,
    version TEXT NOT NULL,
    num_points INTEGER,
    min_x REAL, min_y REAL, min_z REAL, max_x REAL, max_y REAL, max_z REAL,
    crs TEXT NOT NULL,
    metres_xy REAL, metres_z REAL,
    is_context INTEGER NOT NULL,
    header_error TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    error TEXT NOT NULL DEFAULT '',
    worker TEXT NOT NULL DEFAULT '',
    basis TEXT NOT NULL DEFAULT '',
    lacking TEXT NOT NULL DEFAULT '[]',
    output TEXT NOT NULL DEFAULT '',
    output_bytes INTEGER NOT NULL DEFAULT 0,
    output_sha256 TEXT NOT NULL DEFAULT '',
    output_version TEXT NOT NULL DEFAULT '',
    labelled_points INTEGER NOT NULL DEFAULT 0,
    context_points INTEGER NOT NULL DEFAULT 0,
    counts TEXT NOT NULL DEFAULT '{}',
    reference TEXT NOT NULL DEFAULT '',
    agreement TEXT NOT NULL DEFAULT '[]',
    refined TEXT NOT NULL DEFAULT '{}',
    warnings TEXT NOT NULL DEFAULT '[]',
    timings_ms TEXT NOT NULL DEFAULT '{}',
    seconds REAL NOT NULL DEFAULT 0,
    updated REAL NOT NULL
);
CREATE INDEX tile_state ON tile (plan, state);
"""
_PLANNED = (
    *("name", "plan", "path", "format", "num_bytes", "version", "num_points", *PLACED),
    *("crs", "metres_xy", "metres_z", "is_context", "header_error", "state", "updated"),
)
_UPSERT = (
    f"INSERT INTO tile ({', '.join(_PLANNED)}) VALUES ({', '.join('?' * len(_PLANNED))}) ON CONFLICT (name) DO UPDATE "
    f"SET {', '.join(f'{column} = excluded.{column}' for column in _PLANNED if column not in ('name', 'state'))}"
)


class Manifest:
    """The manifest in a folder. For one thread."""

    def __init__(self, folder: Path, connection: sqlite3.Connection, lock: int = -1):
        """Use ``create`` or ``read``."""
        self.folder = folder
        self._connection = connection
        self._lock = lock
        self._plan = int(self.get("plan", 0))

    @classmethod
    def create(cls, folder: Path) -> "Manifest":
        """The manifest in ``folder``, made if there is none, for the one driver that may write it.

        Raises InUse if another one works on it, BadRequest if the file is none, or of a later version, NoRoom if it
        cannot be written.
        """
        lock = lock_of(folder)
        try:
            return cls(folder, _writable(folder / FILE), lock)
        except BaseException:
            os.close(lock)
            raise

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The manifest in ``folder`` to look at, also while a driver works. Raises NotFound if there is none."""
        path = folder / FILE
        if not path.is_file():
            raise NotFound(f"{folder}: there is no survey ({FILE}).")
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_S)
        try:
            _check(connection, path)
            return cls(folder, connection)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the file and give the lock back; may be called twice."""
        self._connection.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def get(self, key: str, default: Any = None) -> Any:
        """A value of the survey as a whole, such as options, model, buffer_m, program."""
        found = self._connection.execute("SELECT value FROM survey WHERE key = ?", (key,)).fetchone()
        return json.loads(found[0]) if found else default

    @contextmanager
    def _change(self) -> Iterator[None]:
        """A change that is kept whole or not at all. Raises NoRoom if the disk is full."""
        try:
            with self._connection:
                yield
        except sqlite3.OperationalError as error:
            raise _unwritten(self.folder / FILE, error) from error

    def set(self, **values: Any) -> None:
        """Keep values of the survey as a whole, anything that JSON holds."""
        rows = [(key, json.dumps(value)) for key, value in values.items()]
        with self._change():
            self._connection.executemany("INSERT OR REPLACE INTO survey VALUES (?, ?)", rows)

    def plan(self, tiles: Iterable[Tile]) -> int:
        """Make ``tiles`` those of the survey from now on; how many there are.

        What is known of tiles that were in it before is kept, also of those that are not in it any more, for later.
        What was running when the last driver ended is pending. Nothing changes if ``tiles`` raises.
        """
        plan, now = self._plan + 1, time.time()
        with self._change():
            self._connection.executemany(_UPSERT, (_planned(tile, plan, now) for tile in tiles))
            self._connection.execute(
                "UPDATE tile SET state = 'context' WHERE plan = ? AND is_context AND state != 'context'", (plan,)
            )
            self._connection.execute(
                "UPDATE tile SET state = 'pending' WHERE plan = ? AND (state = 'running' OR "
                "state = 'context' AND NOT is_context)",
                (plan,),
            )
            self._connection.execute("INSERT OR REPLACE INTO survey VALUES ('plan', ?)", (json.dumps(plan),))
        self._plan = plan
        return len(self)

    def __len__(self) -> int:
        """Tiles of the survey, with those that give context only."""
        return self.num_after(0)

    def num_after(self, number: int) -> int:
        """Tiles of the survey with ids greater than ``number``."""
        query = "SELECT count(*) FROM tile WHERE plan = ? AND id > ?"
        found: tuple[int] = self._connection.execute(query, (self._plan, number)).fetchone()
        return found[0]

    def rows(self, *states: State, after: int = 0) -> Iterator[Row]:
        """Every tile of the survey in one of ``states`` (all, if none is given), in order of the plan, of those with
        ids greater than ``after``."""
        chosen = f"AND state IN ({', '.join('?' * len(states))})" if states else ""
        cursor = self._connection.cursor()
        cursor.row_factory = sqlite3.Row
        query = f"SELECT * FROM tile WHERE plan = ? AND id > ? {chosen} ORDER BY id"
        cursor.execute(query, (self._plan, after, *map(str, states)))
        return map(row_of, cursor)

    def row(self, number: int) -> Row:
        """The tile with the id ``number``, and what became of it."""
        return row_of(self._found("id = ?", number))

    def answered(self, output: str) -> Row:
        """The tile that is done and has its answer at ``output``."""
        return row_of(self._found("plan = ? AND state = 'done' AND output = ?", self._plan, output))

    def tile(self, number: int) -> Tile:
        """The tile with the id ``number``."""
        return tile_of(self._found("id = ?", number))

    def _found(self, condition: str, *values: Any) -> sqlite3.Row:
        cursor = self._connection.cursor()
        cursor.row_factory = sqlite3.Row
        found: sqlite3.Row | None = cursor.execute(f"SELECT * FROM tile WHERE {condition}", values).fetchone()
        if found is None:
            raise NotFound(f"There is no tile {values[-1]} in {self.folder}.")
        return found

    def columns(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Bare columns of every tile of the survey, in order of the plan; for plans of a million tiles."""
        query = f"SELECT {', '.join(names)} FROM tile WHERE plan = ? ORDER BY id"
        return iter(self._connection.execute(query, (self._plan,)))

    def counts(self) -> dict[State, int]:
        """Tiles of the survey by state, 0 for states that none has."""
        found = dict(
            self._connection.execute("SELECT state, count(*) FROM tile WHERE plan = ? GROUP BY state", (self._plan,))
        )
        return {state: found.get(str(state), 0) for state in State}

    def start(self, number: int) -> None:
        """The tile with the id ``number`` is begun."""
        self._update(number, "state = 'running', attempts = attempts + 1, error = ''")

    def finish(self, number: int, result: TileResult, basis: str, seconds: float, lacking: Sequence[str] = ()) -> None:
        """The tile is done; ``basis``, ``seconds`` and ``lacking`` are as in ``Row``."""
        values = {
            **{name: getattr(result, name) for name in ("output", "reference", "worker")},
            **{name: json.dumps(getattr(result, name)) for name in SUMS},
            "output_bytes": result.num_bytes,
            "output_sha256": result.sha256,
            "output_version": result.version,
            "context_points": result.num_context,
            "labelled_points": result.num_points,
            "basis": basis,
            "seconds": seconds,
            "lacking": json.dumps(lacking),
        }
        setters = ", ".join(f"{name} = ?" for name in values)
        self._update(number, f"state = 'done', error = '', {setters}", *values.values())

    def fail(self, number: int, reason: str, seconds: float, state: State = State.FAILED, basis: str = "") -> None:
        """The tile ended in a problem; ``state`` may be QUARANTINED, or PENDING if it is tried again."""
        setters = "state = ?, error = ?, seconds = ?, basis = ?"
        self._update(number, setters, str(state), reason, seconds, basis)

    def reset(self, numbers: Iterable[int]) -> None:
        """The tiles with these ids are pending again."""
        with self._change():
            self._connection.executemany(
                "UPDATE tile SET state = 'pending' WHERE id = ?", ((number,) for number in numbers)
            )

    def _update(self, number: int, setters: str, *values: object) -> None:
        with self._change():
            self._connection.execute(
                f"UPDATE tile SET {setters}, updated = ? WHERE id = ?", (*values, time.time(), number)
            )


def _planned(tile: Tile, plan: int, now: float) -> tuple[Any, ...]:
    """The values of the columns ``_PLANNED``."""
    state = State.CONTEXT if tile.is_context else State.PENDING
    about = (tile.name, plan, tile.path, tile.format, tile.num_bytes, tile.version, tile.num_points)
    place = (*(tile.bounds or (None,) * 6), tile.crs, *(tile.metres_per_unit or (None, None)))
    return (*about, *place, tile.is_context, tile.error, str(state), now)


def _writable(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S)
    try:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        except sqlite3.OperationalError as error:
            raise _unwritten(path, error) from error
        except sqlite3.DatabaseError:
            raise BadRequest(f"{path} is no manifest of a survey, or is damaged; name another folder.") from None
        _check(connection, path)
        return connection
    except BaseException:
        connection.close()
        raise


def _unwritten(path: Path, error: sqlite3.OperationalError) -> NoRoom:
    return NoRoom(f"{path} cannot be written: {error}.")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    found = 0
    with suppress(sqlite3.DatabaseError):
        found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found != VERSION:
        raise BadRequest(f"{path} is no manifest that this version of pointserve reads; name another folder.")
