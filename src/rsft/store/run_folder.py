"""The run folder as the rest of rsft sees it: nouns go in, nouns come out, and what was acknowledged stays."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

from rsft import failpoints
from rsft.errors import RunError, StoreError
from rsft.store import files, lock, rows
from rsft.store.claims import Claims
from rsft.store.ledger import Ledger, Segment
from rsft.store.policies import Policies, round_name
from rsft.store.segments import Segments
from rsft.store.whereabouts import Whereabouts
from rsft.store.writing import GROUP_ROWS, Writer
from rsft.types import Candidate, CandidateKey, Decision, Label, Preference, Prompt, Score, in_order_of_keys

_Item = TypeVar("_Item")

ARMS = ("policy", "control", "unfiltered")
"""Whose replies a run trains policies on."""


class RunFolder:
    """A run's files under one ledger.

    Writing follows one protocol: each segment is written aside, flushed, renamed, and the folder flushed (or uploaded,
    where segments are kept behind a URL), in this process or by whoever writes for it; then one ledger transaction
    makes all of a commit's segments exist. A file that the ledger does not name is not there.
    """

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self.path = path
        self.ledger = ledger
        self.writes = ledger.writes
        self.policies = Policies(path, ledger)
        self._places = Whereabouts(path, ledger)
        self._segments = Segments(path, ledger, self._places)
        self._claims = Claims(self._segments)

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, *, write: bool, repair: bool = True) -> Iterator[RunFolder]:
        """Open a run folder; a writer makes it, locks it, and repairs what a crash left. That reads every file of the
        run: who only adds to the ledger, label by label, does without.

        Raises RunError where another process writes, where the disk refuses, or for a reader of what is no run folder.
        """
        path = Path(path)
        locked: IO[str] | None = None
        if write:
            files.make_folder(path)
            locked = lock.take(path / "lock")
        try:
            ledger = Ledger(path / "ledger.sqlite", write=write)
            try:
                folder = cls(path, ledger)
                if write and repair:
                    folder._repair()
                yield folder
            finally:
                ledger.close()
        finally:
            if locked is not None:
                locked.close()

    # -- segments ----------------------------------------------------------------------------------------------------

    def keep_segments_at(self, url: str | None) -> None:
        """Keep candidates, scores and decisions at a URL of shared storage, in a folder of this run's own; without one,
        in the run folder. To be said before there are any. Raises RunError where such a place can't be written, read
        and listed."""
        self._places.begin(url)

    def written_by(self, writer: Writer) -> None:
        """From now on somebody else writes the segments of commits, and joins small ones. This process alone makes
        them exist."""
        self._segments.writer = writer

    def commit(
        self,
        *,
        candidates: Sequence[Candidate] = (),
        scores: Sequence[rows.ScoreRow] = (),
        known_scores: Literal["refuse", "skip"] = "refuse",
    ) -> None:
        """Add candidates and scores, all of them or none.

        A key that is there already is a StoreError: nothing is counted twice and nothing is overwritten. Scores may be
        skipped instead, if the same scorer's word is there; a failed one can always be made good.
        """
        tables = {("candidates", scope): some for scope, some in _by_scope(rows.candidates_table(candidates))}
        for scope, some in _by_scope(rows.scores_table(scores)):
            table = some if known_scores == "refuse" else self._claims.missing_scores(scope, some)
            if len(table):
                tables["scores", scope] = table
        claimed = {of: self._claims.refuse_known(*of, table) for of, table in tables.items()}
        self._acknowledge(self._segments.write_together(tables))
        for of, marks in claimed.items():
            self._claims.add(*of, marks)
        for of in claimed:
            self._segments.merge_small(*of)

    def decide(self, name: str, decided: Iterable[tuple[CandidateKey, Decision]]) -> None:
        """Add a selection's decisions one by one, iteration after iteration: all of them or none, however many. An
        iteration that it has decided already is a StoreError."""
        made: list[Segment] = []
        for iteration, of_it in groupby(decided, key=lambda one: one[0].iteration):
            scope = _scope(iteration, name)
            if self.ledger.segments("decisions", scope) or any(scope == one.scope for one in made):
                raise StoreError(f"decisions: {scope} is in the run folder already.")
            tables = map(partial(rows.decisions_table, name), _groups(of_it))
            made.append(self._segments.write("decisions", scope, tables))
        self._acknowledge(made)

    def candidate_keys(
        self,
        *,
        iteration: int | None = None,
        generators: Collection[str] | None = None,
        prompt_ids: Collection[str] | None = None,
    ) -> set[CandidateKey]:
        """The keys alone."""
        found = self._rows_of("candidates", iteration, generators, prompt_ids, columns=4)
        return {CandidateKey(*row) for row in found}

    def begun_prompts(self, iteration: int, generators: Collection[str]) -> set[str]:
        """The prompts of which an iteration has candidates by these generators."""
        only = {"generator": generators}
        tables = self.tables("candidates", str(iteration), ["prompt_id"], only)
        return {prompt_id for table in tables for prompt_id in table["prompt_id"].unique().to_pylist()}

    def candidates(
        self,
        *,
        iteration: int | None = None,
        generators: Collection[str] | None = None,
        prompt_ids: Collection[str] | None = None,
    ) -> list[Candidate]:
        """In the order of their keys. Of some prompts, only what may hold them is read."""
        found = map(rows.candidate_of, self._rows_of("candidates", iteration, generators, prompt_ids))
        return sorted(found, key=lambda candidate: in_order_of_keys(candidate.key))

    def scores(
        self,
        *,
        iteration: int | None = None,
        generators: Collection[str] | None = None,
        prompt_ids: Collection[str] | None = None,
        fingerprints: Mapping[str, str] | None = None,
    ) -> dict[CandidateKey, dict[str, Score]]:
        """Scores by candidate and scorer: of the scorers with these fingerprints, or else the last of each name. Of
        some prompts, only what may hold them is read."""
        found: dict[CandidateKey, dict[str, Score]] = {}
        for row in self._rows_of("scores", iteration, generators, prompt_ids):
            said = rows.score_of(row)
            if fingerprints is None or fingerprints.get(said.scorer) == said.fingerprint:
                found.setdefault(said.key, {})[said.scorer] = said.score
        return found

    def count(self, kind: str) -> int:
        """How many rows of a kind there are, by the ledger."""
        return self.ledger.count_rows(kind)

    def count_of(self, kind: str, scope: str) -> int:
        """The same of a scope."""
        return sum(segment.rows for segment in self.ledger.segments(kind, scope))

    def drawn_iterations(self) -> list[int]:
        """The iterations of which there are candidates."""
        return sorted(map(int, self.ledger.scopes("candidates")))

    def tables(
        self,
        kind: str,
        scope: str,
        columns: Sequence[str],
        only: Mapping[str, Collection[str]] | None = None,
        spans: Sequence[range] | None = None,
    ) -> Iterator[Any]:
        """The rows of a scope as Arrow tables of some columns, in the order of their making, some at a time. Ids, and
        whatever else repeats, come as dictionaries with numbers. `only` names columns of texts, and those of which rows
        are wanted; where there are `spans` of rows, numbered from 0 on, what is far from them is left out."""
        repeating = {"prompt_id", "generator", "scorer", "fingerprint", "finish_reason", "ended_by", "rule"}
        numbers = [name for name in columns if name in repeating]
        yield from self._segments.tables(kind, scope, columns, as_numbers=numbers, only=only, spans=spans)

    def decisions(self, name: str, *, iteration: int | None = None) -> dict[CandidateKey, Decision]:
        """The named set's decisions, of one iteration or of all."""
        if iteration is not None:
            return dict(rows.decision_of(row) for row in self._rows("decisions", _scope(iteration, name)))
        return dict(rows.decision_of(row) for row in self._rows("decisions", None) if row[4] == name)

    def decided_iterations(self, name: str) -> list[int]:
        """The iterations of which the named set holds decisions."""
        return sorted({iteration for iteration, of in self.decision_sets() if of == name})

    def check_name(self, name: str) -> None:
        """Raise RunError for what can't be the name of a new set of decisions."""
        taken = [*ARMS, *self.selections()]
        if name in taken or name.startswith(tuple(round_name(arm, 0)[:-1] for arm in ARMS)) or not name.isidentifier():
            raise RunError(
                f"A set of decisions can't be called '{name}': a name is of letters, digits and '_', and none that is "
                f"there already ({', '.join(taken)})."
            )

    def add_selection(self, name: str, rules: Any, decided: Iterable[tuple[CandidateKey, Decision]]) -> None:
        """Keep a named set of decisions, with the rules that made it. None is ever overwritten."""
        self.check_name(name)
        self.ledger.set_meta(f"selection {name}", json.dumps(rules))
        self.decide(name, decided)

    def selections(self) -> dict[str, Any]:
        """The rules of the sets of decisions that somebody named."""
        names = dict.fromkeys(name for _, name in self.decision_sets())
        rules = {name: self.ledger.meta(f"selection {name}") for name in names}
        return {name: json.loads(said) for name, said in rules.items() if said is not None}

    def decision_sets(self) -> list[tuple[int, str]]:
        """The iteration and the name of each set of decisions, in the order in which they were made."""
        scopes = (segment.scope.split(":", 1) for segment in self.ledger.segments("decisions"))
        return [(int(iteration), name) for iteration, name in scopes]

    def add_labels(self, labels: Sequence[Label]) -> None:
        """Keep what somebody said of replies, all of it or nothing."""
        if labels:
            self.ledger.add_labels(labels)

    def labels(self, *, iteration: int | None = None) -> list[Label]:
        """The labels that count, in the order in which they were given: of several by one labeller on one reply the
        last, and nothing that was undone."""
        last: dict[tuple[CandidateKey, str], Label] = {}
        for label in self.ledger.labels():
            if iteration in (None, label.key.iteration):
                last.pop((label.key, label.labeller), None)
                last[label.key, label.labeller] = label
        return [label for label in last.values() if label.word != "undone"]

    def add_preferences(self, preferences: Sequence[Preference]) -> None:
        """Keep what somebody said of pairs of replies, all of it or nothing."""
        if preferences:
            self.ledger.add_preferences(preferences)

    def preferences(self) -> list[Preference]:
        """Those that count, in the order in which they were given: of several by one labeller on one pair the last, and
        nothing that was undone."""
        last: dict[tuple[CandidateKey, CandidateKey, str], Preference] = {}
        for one in self.ledger.preferences():
            last.pop((one.first, one.second, one.labeller), None)
            last[one.first, one.second, one.labeller] = one
        return [one for one in last.values() if one.word != "undone"]

    def note_scorers(self, fingerprints: Mapping[str, str], heldout: Mapping[str, str]) -> None:
        """Keep which scorers decide in this run, and which only look on."""
        self.ledger.set_meta("scorers", json.dumps(fingerprints))
        self.ledger.set_meta("heldout_scorers", json.dumps(heldout))

    def noted_scorers(self) -> dict[str, str]:
        """The fingerprints of the scorers that decide in this run; none if it did not come so far."""
        return dict(json.loads(self.ledger.meta("scorers") or "{}"))

    def noted_heldout_scorers(self) -> dict[str, str]:
        """The fingerprints of those that only look on."""
        return dict(json.loads(self.ledger.meta("heldout_scorers") or "{}"))

    def own_scores(
        self,
        *,
        iteration: int | None = None,
        generators: Collection[str] | None = None,
        prompt_ids: Collection[str] | None = None,
    ) -> dict[CandidateKey, dict[str, Score]]:
        """Scores by the scorers that decide or look on in this run, whatever others have said since."""
        own = self.noted_heldout_scorers() | self.noted_scorers()
        return self.scores(iteration=iteration, generators=generators, prompt_ids=prompt_ids, fingerprints=own or None)

    def save_prompts(self, train: Sequence[Prompt], heldout: Sequence[Prompt], anchors: Sequence[Prompt] = ()) -> None:
        """Keep the prompts, in order, so that the run needs no other file from now on.

        Raises RunError if they were kept before, got damaged since, and are not the same any more.
        """
        splits = {"train": train, "heldout": heldout, "anchor": anchors}
        ids = [prompt.id for some in splits.values() for prompt in some]
        if self.ledger.scopes("prompts") or len(set(ids)) < len(ids):
            raise StoreError(f"The prompts are in {self.path} already, or one of them comes twice.")
        said = [(split, prompt) for split, some in splits.items() for prompt in some]
        content = hashlib.sha256(b"[")
        for place, one in enumerate(said):
            content.update((", " if place else "").encode() + json.dumps(rows.prompt_row(*one)).encode())
        content.update(b"]")
        if self.ledger.meta("prompts") not in (None, content.hexdigest()):
            raise RunError(
                f"The prompts in {self.path} are damaged, and the recipe's files now hold others. "
                "Bring back the files that the run began with, or start another run (--set run=...)."
            )
        self.ledger.set_meta("prompts", content.hexdigest())
        self._acknowledge([self._segments.write("prompts", "all", map(rows.prompts_table, _groups(said)))])

    def load_prompts(self, split: str, ids: Collection[str] | None = None) -> list[Prompt]:
        """A split's prompts, in order: all of them, or those with some ids."""
        only = {"split": [split]} if ids is None else {"split": [split], "id": ids}
        return [rows.prompt_of(row) for row in self._rows("prompts", None, only=only)]

    def last_turns(self, split: str, ids: Collection[str] | None = None) -> Iterator[tuple[str, str]]:
        """The id and the last turn of a split's prompts, in order: of all of them, or of those with some ids."""
        only = {"split": [split]} if ids is None else {"split": [split], "id": ids}
        some = self._rows("prompts", None, columns=3, only=only)
        return ((prompt_id, rows.last_turn(turns)) for _, prompt_id, turns in some)

    def prompt_ids(self, split: str) -> list[str]:
        """The ids of a split's prompts, in order."""
        return [row[1] for row in self._rows("prompts", None, columns=2, only={"split": [split]})]

    # -- stages, generators, events ----------------------------------------------------------------------------------

    def begin_stage(self, iteration: int, arm: str, stage: str) -> None:
        self.ledger.begin_stage(iteration, arm, stage)
        failpoints.reached(f"{stage}.begun")

    def finish_stage(
        self, iteration: int, arm: str, stage: str, info: dict[str, Any], events: Sequence[tuple[str, Any]] = ()
    ) -> None:
        """A stage is done, with what it leaves behind and what happened in it (kind, data)."""
        failpoints.reached(f"{stage}.finishing")
        self.ledger.finish_stage(iteration, arm, stage, info, events)

    def stage_done(self, iteration: int, arm: str, stage: str) -> dict[str, Any] | None:
        """What a stage left behind, or None if it is not done."""
        return self.ledger.stage_done(iteration, arm, stage)

    def stages(self) -> list[dict[str, Any]]:
        return self.ledger.stages()

    def done(self, stage: str) -> list[tuple[int, str]]:
        """The iterations and the arms in which a stage is done, in the order in which it was begun."""
        return self.ledger.done(stage)

    @property
    def finished(self) -> bool:
        """Whether nothing is owed any more."""
        return self.ledger.meta("finished") is not None

    def finish(self) -> None:
        failpoints.reached("run.finishing")
        self.ledger.set_meta("finished", "yes")

    def reopen(self) -> None:
        """Something is owed again: the run goes on."""
        self.ledger.drop_meta("finished")

    def writer_pid(self) -> int | None:
        """The process that writes this run now, if any."""
        return lock.holder(self.path / "lock")

    def has_lost(self, iteration: int) -> bool:
        """Whether candidates of an iteration, or scores, were ever damaged; they may have been made again since."""
        damaged = [event for event in self.ledger.events() if event["kind"] == "segment_damaged"]
        return any(segment["scope"] == str(iteration) for segment in damaged)

    @property
    def is_whole(self) -> bool:
        """Whether every file that the ledger names is there, and is what was written."""
        return not self._damaged_segments() and not self.policies.damaged()

    def _damaged_segments(self) -> list[Segment]:
        return self._segments.damaged(self.ledger.segments())

    # -- other files -------------------------------------------------------------------------------------------------

    def iteration_path(self, iteration: int, *parts: str) -> Path:
        """Where an iteration's files lie; made if it is not there."""
        path = self.path.joinpath("iterations", str(iteration), *parts)
        files.make_folder(path)
        return path

    def write_text(self, name: str | Path, text: str) -> None:
        """Write a file of the run folder, whole or not at all."""
        files.put(self.path / name, lambda aside: _written(aside, text))
        failpoints.reached(f"{Path(name).stem}.written")

    def write_json(self, name: str | Path, said: Any) -> None:
        self.write_text(name, json.dumps(said, ensure_ascii=False, indent=2) + "\n")

    # -- inside ------------------------------------------------------------------------------------------------------

    def _rows(
        self,
        kind: str,
        scope: str | int | None,
        columns: int | None = None,
        only: Mapping[str, Collection[str]] | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        """The rows of a scope, or of all, in the order of their making; only the first `columns` if so asked."""
        scope = str(scope) if isinstance(scope, int) else scope
        for table in self._segments.tables(kind, scope, rows.schemas()[kind].names[:columns], only=only):
            yield from zip(*(column.to_pylist() for column in table.columns), strict=True)

    def _rows_of(
        self,
        kind: str,
        iteration: int | None,
        generators: Collection[str] | None,
        prompt_ids: Collection[str] | None,
        columns: int | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        only = {"generator": generators, "prompt_id": prompt_ids}
        return self._rows(kind, iteration, columns, {name: some for name, some in only.items() if some is not None})

    def _acknowledge(self, made: Sequence[Segment]) -> None:
        if made:
            self.ledger.add_segments(made)
            for segment in made:
                failpoints.reached(f"{segment.kind}.committed")

    def _aside(self, named: str) -> Path:
        """Where a damaged file or folder goes, out of the way. What it held is owed again, whoever repairs."""
        self.reopen()
        aside = self.path / "damaged" / named.replace("/", "-")
        if aside.is_dir():
            shutil.rmtree(aside)
        return aside

    def _repair(self) -> None:
        """Set aside what is damaged, so that just this is owed again, and remove what no ledger entry names."""
        self._places.take()
        for segment in self._damaged_segments():
            self._segments.set_aside(segment, self._aside(segment.path))
            self.ledger.drop_segment(segment.path)
            self.ledger.event("segment_damaged", {"path": segment.path, "rows": segment.rows, "scope": segment.scope})
        for stage in self.policies.damaged():
            policy = stage["info"]["policy"]
            where = {"iteration": stage["iteration"], "arm": stage["arm"]}
            named = policy.get("adapter") or policy["weights"]
            files.move(files.inside(self.path, named), self._aside(named))
            self.ledger.event("policy_damaged", {**where, "hash": policy["hash"]})
            self.ledger.drop_stage(**where, stage="train")
        self._segments.remove_orphans()


def _scope(iteration: int, name: str | None = None) -> str:
    """What a segment is of: an iteration, and the name of a set of decisions."""
    return str(iteration) if name is None else f"{iteration}:{name}"


def _by_scope(table: Any) -> Iterator[tuple[str, Any]]:
    """A table's rows by what they are of."""
    import pyarrow.compute as pc

    iterations = pc.unique(table["iteration"]).to_pylist()
    for iteration in iterations:
        yield _scope(iteration), table if len(iterations) == 1 else table.filter(pc.field("iteration") == iteration)


def _groups(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """As many at a time as a group of rows has."""
    items = iter(items)
    while some := list(islice(items, GROUP_ROWS)):
        yield some


def _written(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
