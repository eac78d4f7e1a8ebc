"""The ledger: which segments exist, which stages are done, and what happened. SQLite, one writer."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rsft.errors import RunError
from rsft.types import CandidateKey, Label, Preference

# The values of a statement, in the order of its question marks or by its parameters' names.
_Values = Sequence[Any] | Mapping[str, Any]

_VERSION = "2"
_TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE segments(path TEXT PRIMARY KEY, kind TEXT NOT NULL, scope TEXT NOT NULL, sha256 TEXT NOT NULL,
                      rows INTEGER NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE stages(iteration INTEGER NOT NULL, arm TEXT NOT NULL, stage TEXT NOT NULL, status TEXT NOT NULL,
                    info TEXT, started_at TEXT NOT NULL, finished_at TEXT, PRIMARY KEY(iteration, arm, stage));
CREATE TABLE generators(fingerprint TEXT PRIMARY KEY, description TEXT NOT NULL);
CREATE TABLE labels(id INTEGER PRIMARY KEY, iteration INTEGER NOT NULL, prompt_id TEXT NOT NULL,
                    sample_index INTEGER NOT NULL, generator TEXT NOT NULL, labeller TEXT NOT NULL,
                    purpose TEXT NOT NULL, word TEXT NOT NULL, loss REAL, at TEXT NOT NULL);
CREATE TABLE events(id INTEGER PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL);
"""
# Made with its first row: a run of which nobody compared replies has none.
_PREFERENCES = """
CREATE TABLE IF NOT EXISTS preferences(id INTEGER PRIMARY KEY, prompt_id TEXT NOT NULL,
    first_iteration INTEGER NOT NULL, first_sample INTEGER NOT NULL, first_generator TEXT NOT NULL,
    second_iteration INTEGER NOT NULL, second_sample INTEGER NOT NULL, second_generator TEXT NOT NULL,
    labeller TEXT NOT NULL, word TEXT NOT NULL, blind INTEGER NOT NULL, at TEXT NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class Segment:
    """An immutable file of rows. `scope` says what it is of, so that a reader opens only the files that it needs."""

    path: str
    kind: str
    scope: str
    sha256: str
    rows: int


class Ledger:
    """Opens `ledger.sqlite`; a writer makes it if it is not there. Raises RunError for what is no ledger of ours."""

    def __init__(self, path: Path, *, write: bool) -> None:
        self.path = path
        self.writes = write
        if not write and not path.is_file():
            raise RunError(f"{path.parent} is not a run folder: it holds no {path.name}.")
        mode = "rwc" if write else "ro"
        try:
            self._db = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
            if write:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name='meta'").fetchone():
                    self._db.executescript(
                        f"BEGIN; {_TABLES} INSERT INTO meta VALUES('version', '{_VERSION}'); COMMIT;"
                    )
            version = self.meta("version")
        except sqlite3.Error as error:
            raise RunError(f"{path} can't be used as a ledger: {error}.") from error
        if version != _VERSION:
            raise RunError(f"{path} is of version {version}, and this rsft reads version {_VERSION}.")

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            if self.writes:
                # One plain file, that can be read from a read-only disk too. Refused while somebody reads: no harm.
                self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.close()

    def meta(self, key: str) -> str | None:
        row = self._db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        self._write("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))

    def drop_meta(self, key: str) -> None:
        self._write("DELETE FROM meta WHERE key=?", (key,))

    def add_segments(self, segments: Iterable[Segment]) -> None:
        """Make the segments exist, all at once."""
        rows = [(s.path, s.kind, s.scope, s.sha256, s.rows, _now()) for s in segments]
        self._write_all("INSERT INTO segments VALUES(?, ?, ?, ?, ?, ?)", rows)

    def replace_segments(self, parts: Sequence[Segment], whole: Segment) -> None:
        """Make a segment exist instead of others of its scope, in the place of the first of them."""
        (place,) = self._db.execute("SELECT rowid FROM segments WHERE path=?", (parts[0].path,)).fetchone()
        gone: list[tuple[str, _Values]] = [("DELETE FROM segments WHERE path=?", (part.path,)) for part in parts]
        made = (place, *astuple(whole), _now())
        columns = "rowid, path, kind, scope, sha256, rows, created_at"
        self._write_together([*gone, (f"INSERT INTO segments({columns}) VALUES(?, ?, ?, ?, ?, ?, ?)", made)])

    def drop_segment(self, path: str) -> None:
        self._write("DELETE FROM segments WHERE path=?", (path,))

    def segments(self, kind: str | None = None, scope: str | None = None) -> list[Segment]:
        """In the order in which they were made."""
        found = self._db.execute(
            "SELECT path, kind, scope, sha256, rows FROM segments "
            "WHERE (:kind IS NULL OR kind=:kind) AND (:scope IS NULL OR scope=:scope) ORDER BY rowid",
            {"kind": kind, "scope": scope},
        )
        return [Segment(*row) for row in found]

    def scopes(self, kind: str) -> list[str]:
        """The scopes of which there are segments of a kind, in the order of their first ones."""
        found = self._db.execute("SELECT scope FROM segments WHERE kind=? GROUP BY scope ORDER BY min(rowid)", (kind,))
        return [scope for (scope,) in found]

    def count_rows(self, kind: str) -> int:
        """How many rows of a kind there are."""
        (count,) = self._db.execute("SELECT coalesce(sum(rows), 0) FROM segments WHERE kind=?", (kind,)).fetchone()
        return int(count)

    def begin_stage(self, iteration: int, arm: str, stage: str) -> None:
        self._write(
            "INSERT OR REPLACE INTO stages VALUES(?, ?, ?, 'begun', NULL, ?, NULL)", (iteration, arm, stage, _now())
        )

    def drop_stage(self, iteration: int, arm: str, stage: str) -> None:
        """Forget that a stage was done."""
        self._write("DELETE FROM stages WHERE iteration=? AND arm=? AND stage=?", (iteration, arm, stage))

    def finish_stage(
        self, iteration: int, arm: str, stage: str, info: dict[str, Any], events: Sequence[tuple[str, Any]] = ()
    ) -> None:
        """Note that a stage is done, and what happened in it, all at once."""
        done = (
            "INSERT INTO stages VALUES(:iteration, :arm, :stage, 'done', :info, :now, :now) ON CONFLICT DO UPDATE "
            "SET status='done', info=:info, finished_at=:now",
            {"iteration": iteration, "arm": arm, "stage": stage, "info": json.dumps(info), "now": _now()},
        )
        happened = [
            ("INSERT INTO events(at, kind, data) VALUES(?, ?, ?)", (_now(), kind, json.dumps(data)))
            for kind, data in events
        ]
        self._write_together([done, *happened])

    def stages(self) -> list[dict[str, Any]]:
        found = self._db.execute("SELECT iteration, arm, stage, status, info, finished_at FROM stages ORDER BY rowid")
        columns = ("iteration", "arm", "stage", "status", "info", "finished_at")
        return [
            dict(zip(columns, (*row, json.loads(info) if info else None, at), strict=True)) for *row, info, at in found
        ]

    def begun(self) -> dict[str, Any] | None:
        """The stage that was begun last and is not done: `iteration`, `arm`, `stage`, when (`started_at`), how many
        candidates the iteration has (`candidates`), and how many of them were kept since then (`since`). Small segments
        that became one since then count as kept since then."""
        found = self._db.execute(
            "SELECT iteration, arm, stage, started_at FROM stages WHERE status='begun' ORDER BY rowid DESC LIMIT 1"
        ).fetchone()
        if found is None:
            return None
        said = dict(zip(("iteration", "arm", "stage", "started_at"), found, strict=True))
        (said["candidates"], said["since"]) = self._db.execute(
            "SELECT coalesce(sum(rows), 0), coalesce(sum(CASE WHEN created_at >= ? THEN rows ELSE 0 END), 0) "
            "FROM segments WHERE kind='candidates' AND scope=?",
            (said["started_at"], str(said["iteration"])),
        ).fetchone()
        return said

    def stage_done(self, iteration: int, arm: str, stage: str) -> dict[str, Any] | None:
        """What a stage left behind, or None if it is not done."""
        where = "WHERE iteration=? AND arm=? AND stage=? AND status='done'"
        found = self._db.execute(f"SELECT info FROM stages {where}", (iteration, arm, stage)).fetchone()
        return None if found is None else dict(json.loads(found[0] or "{}"))

    def done(self, stage: str) -> list[tuple[int, str]]:
        """The iterations and the arms in which a stage is done, in the order in which it was begun."""
        where = "WHERE stage=? AND status='done' ORDER BY rowid"
        return list(self._db.execute(f"SELECT iteration, arm FROM stages {where}", (stage,)))

    def add_generator(self, fingerprint: str, description: dict[str, Any]) -> None:
        self._write("INSERT OR IGNORE INTO generators VALUES(?, ?)", (fingerprint, json.dumps(description)))

    def generators(self) -> dict[str, dict[str, Any]]:
        return {name: json.loads(said) for name, said in self._db.execute("SELECT * FROM generators")}

    def add_labels(self, labels: Iterable[Label]) -> None:
        """Add labels, all at once."""
        rows = [
            (*astuple(label.key), label.labeller, label.purpose, label.word, label.loss, _now()) for label in labels
        ]
        self._write_all("INSERT INTO labels VALUES(NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def labels(self) -> list[Label]:
        """In the order in which they were given, what was undone or said again among them."""
        found = self._db.execute(
            "SELECT iteration, prompt_id, sample_index, generator, labeller, purpose, word, loss FROM labels"
            " ORDER BY id"
        )
        return [Label(CandidateKey(*row[:4]), *row[4:]) for row in found]

    def add_preferences(self, preferences: Iterable[Preference]) -> None:
        """Add what was said of pairs of replies, all at once."""
        rows = [
            (one.first.prompt_id, *_reply(one.first), *_reply(one.second), one.labeller, one.word, one.blind, _now())
            for one in preferences
        ]
        insert = "INSERT INTO preferences VALUES(NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        self._write_together([(_PREFERENCES, ()), *((insert, row) for row in rows)])

    def preferences(self) -> list[Preference]:
        """In the order in which they were given, what was undone or said again among them."""
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name='preferences'").fetchone():
            return []
        found = self._db.execute(
            "SELECT prompt_id, first_iteration, first_sample, first_generator, second_iteration, second_sample, "
            "second_generator, labeller, word, blind FROM preferences ORDER BY id"
        )
        return [
            Preference(CandidateKey(i, prompt, a, of_a), CandidateKey(j, prompt, b, of_b), labeller, word, bool(blind))
            for prompt, i, a, of_a, j, b, of_b, labeller, word, blind in found
        ]

    def event(self, kind: str, data: dict[str, Any]) -> None:
        self._write("INSERT INTO events(at, kind, data) VALUES(?, ?, ?)", (_now(), kind, json.dumps(data)))

    def events(self) -> list[dict[str, Any]]:
        found = self._db.execute("SELECT at, kind, data FROM events ORDER BY id")
        return [{"at": at, "kind": kind, **json.loads(data)} for at, kind, data in found]

    def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        try:
            self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise RunError(f"{self.path} can't be written: {error}. Mend this and go on with rsft resume.") from error

    def _write_all(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Many rows, all of them or none."""
        self._write_together([(statement, row) for row in rows])

    def _write_together(self, writes: Sequence[tuple[str, _Values]]) -> None:
        """Several statements with their values, all of them or none."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            for statement, values in writes:
                self._db.execute(statement, values)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise RunError(f"{self.path} can't be written: {error}. Mend this and go on with rsft resume.") from error


def _reply(key: CandidateKey) -> tuple[int, int, str]:
    """A reply's key but for its prompt."""
    return key.iteration, key.sample_index, key.generator


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
