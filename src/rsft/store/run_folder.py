"""The run folder as the rest of rsft sees it: nouns go in, nouns come out, and what was acknowledged stays."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from rsft import failpoints
from rsft.errors import RunError, StoreError
from rsft.store import files, lock, rows
from rsft.store.ledger import Ledger, Segment
from rsft.types import Candidate, CandidateKey, Decision, Label, Policy, Prompt, Score

_ARMS = ("policy", "control", "unfiltered")
_MANY_ROWS = 100_000


def round_name(arm: str, number: int) -> str:
    """What an arm is called in a further round of training on the same candidates, from the second on."""
    return f"{arm}_round_{number}"


class RunFolder:
    """A run's files under one ledger.

    Writing follows one protocol: each segment is written aside, flushed, renamed, and the folder flushed; then one
    ledger transaction makes all of a commit's segments exist. A file that the ledger does not name is not there.
    """

    def __init__(self, path: Path, ledger: Ledger) -> None:
        self.path = path
        self.ledger = ledger
        self._known: dict[str, set[Any]] = {}

    @classmethod
    @contextlib.contextmanager
    def open(cls, path: Path, *, write: bool) -> Iterator[RunFolder]:
        """Open a run folder; a writer makes it, locks it, and repairs what a crash left.

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
                if write:
                    folder._repair()
                yield folder
            finally:
                ledger.close()
        finally:
            if locked is not None:
                locked.close()

    # -- segments ----------------------------------------------------------------------------------------------------

    def commit(
        self,
        *,
        candidates: Sequence[Candidate] = (),
        scores: Sequence[rows.ScoreRow] = (),
        decisions: Mapping[str, Mapping[CandidateKey, Decision]] | None = None,
    ) -> None:
        """Add rows, all of them or none. `decisions` maps a selection's name to its decisions.

        A key that is there already is a StoreError: nothing is counted twice and nothing is overwritten.
        """
        claims: dict[str, list[Any]] = {
            "candidates": [c.key for c in candidates],
            "scores": [_score_key(row) for row in scores],
            "decisions": [
                _scope(iteration, name)
                for name, decided in (decisions or {}).items()
                for iteration in {key.iteration for key in decided}
            ],
        }
        for kind, keys in claims.items():
            self._refuse_known(kind, keys)
        made = []
        if candidates:
            scope = _scope(candidates[0].key.iteration)
            made.append(self._write_segment("candidates", scope, [rows.candidate_row(c) for c in candidates]))
        if scores:
            scope = _scope(scores[0].key.iteration)
            made.append(self._write_segment("scores", scope, [rows.score_row(s) for s in scores]))
        for name, decided in (decisions or {}).items():
            for iteration in sorted({key.iteration for key in decided}):
                scope = _scope(iteration, name)
                of_it = {key: decision for key, decision in decided.items() if key.iteration == iteration}
                made.append(self._write_segment("decisions", scope, rows.decision_rows(name, of_it)))
        self._acknowledge(made)
        for kind, keys in claims.items():
            if keys:
                self._claimed(kind).update(keys)

    def candidate_keys(self, *, iteration: int | None = None, generator: str | None = None) -> set[CandidateKey]:
        return {
            CandidateKey(*row)
            for row in self._rows("candidates", iteration, columns=4)
            if generator is None or row[3] == generator
        }

    def candidates(self, *, iteration: int | None = None, generator: str | None = None) -> list[Candidate]:
        """In the order of their keys."""
        found = [
            rows.candidate_of(row)
            for row in self._rows("candidates", iteration)
            if generator is None or row[3] == generator
        ]
        return sorted(found, key=lambda candidate: candidate.key)

    def scores(
        self,
        *,
        iteration: int | None = None,
        generator: str | None = None,
        fingerprints: Mapping[str, str] | None = None,
    ) -> dict[CandidateKey, dict[str, Score]]:
        """Scores by candidate and scorer: of the scorers with these fingerprints, or else the last of each name."""
        found: dict[CandidateKey, dict[str, Score]] = {}
        for row in self._rows("scores", iteration):
            said = rows.score_of(row)
            if generator is not None and said.key.generator != generator:
                continue
            if fingerprints is None or fingerprints.get(said.scorer) == said.fingerprint:
                found.setdefault(said.key, {})[said.scorer] = said.score
        return found

    def tables(self, kind: str, scope: str, columns: Sequence[str]) -> Iterator[Any]:
        """The segments of a kind as Arrow tables of some columns, in the order of their making. Ids, and whatever else
        repeats, come as dictionaries with numbers."""
        repeating = {"prompt_id", "generator", "scorer", "fingerprint", "finish_reason", "rule"}
        yield from self._tables(kind, scope, columns, [name for name in columns if name in repeating])

    def not_there(self, scores: Sequence[rows.ScoreRow]) -> list[rows.ScoreRow]:
        """Those of the scores that the folder does not hold yet. A failed one can be made good."""
        known = self._claimed("scores")
        return [row for row in scores if not known & {_score_key(row), (*_score_key(row)[:3], True)}]

    def decisions(self, name: str, *, iteration: int | None = None) -> dict[CandidateKey, Decision]:
        """The named set's decisions, of one iteration or of all."""
        if iteration is not None:
            return dict(rows.decision_of(row) for row in self._rows("decisions", _scope(iteration, name)))
        return dict(rows.decision_of(row) for row in self._rows("decisions", None) if row[4] == name)

    def decided_iterations(self, name: str) -> list[int]:
        """The iterations of which the named set holds decisions."""
        return sorted({iteration for iteration, of in self._decided() if of == name})

    def check_name(self, name: str) -> None:
        """Raise RunError for what can't be the name of a new set of decisions."""
        taken = [*_ARMS, *self.selections()]
        if name in taken or name.startswith(tuple(round_name(arm, 0)[:-1] for arm in _ARMS)) or not name.isidentifier():
            raise RunError(
                f"A set of decisions can't be called '{name}': a name is of letters, digits and '_', and none that is "
                f"there already ({', '.join(taken)})."
            )

    def add_selection(self, name: str, rules: Any, decisions: Mapping[CandidateKey, Decision]) -> None:
        """Keep a named set of decisions, with the rules that made it. None is ever overwritten."""
        self.check_name(name)
        self.ledger.set_meta(f"selection {name}", json.dumps(rules))
        self.commit(decisions={name: decisions})

    def selections(self) -> dict[str, Any]:
        """The rules of the sets of decisions that somebody named."""
        rules = {name: self.ledger.meta(f"selection {name}") for name in dict.fromkeys(of for _, of in self._decided())}
        return {name: json.loads(said) for name, said in rules.items() if said is not None}

    def _decided(self) -> list[tuple[int, str]]:
        """The iteration and the name of each set of decisions."""
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

    def note_scorers(self, fingerprints: Mapping[str, str], heldout: Mapping[str, str]) -> None:
        """Keep which scorers decide in this run, and which only look on."""
        self.ledger.set_meta("scorers", json.dumps(fingerprints))
        self.ledger.set_meta("heldout_scorers", json.dumps(heldout))

    def noted_scorers(self) -> dict[str, str]:
        """The fingerprints of the scorers that decide in this run; none if it did not come so far."""
        return dict(json.loads(self.ledger.meta("scorers") or "{}"))

    def own_scores(self, *, iteration: int | None = None) -> dict[CandidateKey, dict[str, Score]]:
        """Scores by the scorers that decide or look on in this run, whatever others have said since."""
        heldout = json.loads(self.ledger.meta("heldout_scorers") or "{}")
        return self.scores(iteration=iteration, fingerprints=heldout | self.noted_scorers() or None)

    def save_prompts(self, train: Sequence[Prompt], heldout: Sequence[Prompt], anchors: Sequence[Prompt] = ()) -> None:
        """Keep the prompts, in order, so that the run needs no other file from now on.

        Raises RunError if they were kept before, got damaged since, and are not the same any more.
        """
        splits = {"train": train, "heldout": heldout, "anchor": anchors}
        self._refuse_known("prompts", [prompt.id for some in splits.values() for prompt in some])
        said = [rows.prompt_row(split, prompt) for split, some in splits.items() for prompt in some]
        content = hashlib.sha256(json.dumps(said).encode()).hexdigest()
        if self.ledger.meta("prompts") not in (None, content):
            raise RunError(
                f"The prompts in {self.path} are damaged, and the recipe's files now hold others. "
                "Bring back the files that the run began with, or start another run (--set run=...)."
            )
        self.ledger.set_meta("prompts", content)
        self._acknowledge([self._write_segment("prompts", "all", said)])

    def load_prompts(self, split: str) -> list[Prompt]:
        return [rows.prompt_of(row) for row in self._rows("prompts", None) if row[0] == split]

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
        for said in self.ledger.stages():
            if (said["iteration"], said["arm"], said["stage"], said["status"]) == (iteration, arm, stage, "done"):
                return dict(said["info"] or {})
        return None

    def stages(self) -> list[dict[str, Any]]:
        return self.ledger.stages()

    def note_of(self, policy: Policy) -> dict[str, str]:
        """A policy as a train stage notes it: its folders relative to the run's, so that a run can be moved."""
        where = {"adapter": policy.adapter, "weights": policy.weights}
        return {"hash": policy.hash} | {
            kind: str(Path(said).relative_to(self.path)) for kind, said in where.items() if said
        }

    def checksums(self, policy: Policy) -> dict[str, str]:
        """The checksum of each file that a policy is loaded from, by its path from the run folder on."""
        where = policy.adapter or policy.weights
        kinds = ("*.safetensors", "*.json")
        found = sorted(path for kind in kinds for path in Path(where).glob(kind)) if where else []
        return {str(path.relative_to(self.path)): files.sha256(path) for path in found}

    def lost_policy(self, iteration: int, arm: str) -> str | None:
        """The hash of a policy whose weights were damaged, so that it is to be trained again."""
        lost = [
            event["hash"]
            for event in self.ledger.events()
            if event["kind"] == "policy_damaged" and (event["iteration"], event["arm"]) == (iteration, arm)
        ]
        return str(lost[-1]) if lost else None

    def policy(self, iteration: int, arm: str) -> Policy | None:
        """The policy that an iteration trained, in the last of its rounds that is done; None if it has not (yet)."""
        rounds = [self.trained(iteration, arm)]
        while rounds[-1] is not None:
            rounds.append(self.trained(iteration, round_name(arm, len(rounds) + 1)))
        return rounds[-2] if len(rounds) > 1 else None

    def trained(self, iteration: int, arm: str) -> Policy | None:
        """The policy that an arm (or a named set, or a further round of one) trained in an iteration."""
        done = self.stage_done(iteration, arm, "train")
        if done is None:
            return None
        where = {kind: str(files.inside(self.path, said)) for kind, said in done["policy"].items() if kind != "hash"}
        return Policy(done["policy"]["hash"], **where)

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

    @property
    def is_whole(self) -> bool:
        """Whether every file that the ledger names is there, and is what was written."""
        return not self._damaged_segments() and not self._damaged_policies()

    def _damaged_segments(self) -> list[Segment]:
        return [segment for segment in self.ledger.segments() if not self._is_intact(segment.path, segment.sha256)]

    def _damaged_policies(self) -> list[dict[str, Any]]:
        """The training stages whose policies' files are missing, or are not what was written."""
        return [
            stage
            for stage in self.ledger.stages()
            if stage["stage"] == "train"
            and not all(self._is_intact(*file) for file in ((stage["info"] or {}).get("files") or {}).items())
        ]

    def _is_intact(self, named: str, sha256: str) -> bool:
        path = files.inside(self.path, named)
        return path.is_file() and files.sha256(path) == sha256

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

    def _rows(self, kind: str, scope: str | int | None, columns: int | None = None) -> Iterator[tuple[Any, ...]]:
        """The rows of a kind's segments, in the order of their making; only the first `columns` if so asked."""
        scope = str(scope) if isinstance(scope, int) else scope
        for table in self._tables(kind, scope, rows.schemas()[kind].names[:columns]):
            yield from zip(*(column.to_pylist() for column in table.columns), strict=True)

    def _tables(
        self, kind: str, scope: str | None, columns: Sequence[str], as_numbers: Sequence[str] = ()
    ) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for segment in self.ledger.segments(kind, scope):
            path = files.inside(self.path, segment.path)
            try:
                with pq.ParquetFile(path, read_dictionary=list(as_numbers)) as file:
                    # Threads cost more than they give where there is little to read.
                    table = file.read(list(columns), use_threads=segment.rows > _MANY_ROWS)
            except (OSError, pa.ArrowException) as error:
                raise RunError(f"{path} can't be read: {error}. Let rsft resume {self.path} mend it.") from error
            if table.num_rows != segment.rows:
                raise StoreError(f"{path} holds {table.num_rows} rows, and the ledger says {segment.rows}.")
            yield table

    def _write_segment(self, kind: str, scope: str, said: list[tuple[Any, ...]]) -> Segment:
        import pyarrow.parquet as pq

        table = rows.table(kind, said)
        # Of one commit there are several before the ledger names any.
        there = (int(path.stem) for path in (self.path / kind).glob("*.parquet"))
        path = self.path / kind / f"{1 + max(there, default=0):06d}.parquet"
        files.put(
            path,
            lambda aside: pq.write_table(table, aside, compression="zstd"),
            before_rename=lambda: failpoints.reached(f"{kind}.written"),
        )
        failpoints.reached(f"{kind}.renamed")
        return Segment(str(path.relative_to(self.path)), kind, scope, files.sha256(path), table.num_rows)

    def _acknowledge(self, made: Sequence[Segment]) -> None:
        if made:
            self.ledger.add_segments(made)
            for segment in made:
                failpoints.reached(f"{segment.kind}.committed")

    def _refuse_known(self, kind: str, keys: Sequence[Any]) -> None:
        """Raise StoreError for keys that are there already, or that come twice."""
        known = self._claimed(kind) if keys else set()
        twice = len(set(keys)) < len(keys)
        for place, key in enumerate(keys):
            if key in known or (twice and key in keys[:place]):
                raise StoreError(f"{kind}: {key} is in the run folder already.")

    def _claimed(self, kind: str) -> set[Any]:
        """The keys that are there."""
        if kind not in self._known:
            self._known[kind] = self._keys_on_disk(kind)
        return self._known[kind]

    def _keys_on_disk(self, kind: str) -> set[Any]:
        if kind == "candidates":
            return set(self.candidate_keys())
        if kind == "scores":
            return {
                (CandidateKey(*row[:4]), row[4], row[5], row[6] is not None)
                for row in self._rows(kind, None, columns=7)
            }
        if kind == "decisions":
            return {segment.scope for segment in self.ledger.segments(kind)}
        return {row[1] for row in self._rows(kind, None, columns=2)}

    def _set_aside(self, named: str) -> None:
        """Move a damaged file or folder out of the way. What it held is owed again, whoever repairs."""
        self.reopen()
        path = files.inside(self.path, named)
        if path.exists():
            aside = self.path / "damaged" / named.replace("/", "-")
            files.make_folder(aside.parent)
            if aside.is_dir():
                shutil.rmtree(aside)
            path.rename(aside)

    def _repair(self) -> None:
        """Set aside what is damaged, so that just this is owed again, and remove what no ledger entry names."""
        for segment in self._damaged_segments():
            self._set_aside(segment.path)
            self.ledger.drop_segment(segment.path)
            self.ledger.event("segment_damaged", {"path": segment.path, "rows": segment.rows, "scope": segment.scope})
        for stage in self._damaged_policies():
            policy = stage["info"]["policy"]
            where = {"iteration": stage["iteration"], "arm": stage["arm"]}
            self._set_aside(policy.get("adapter") or policy["weights"])
            self.ledger.event("policy_damaged", {**where, "hash": policy["hash"]})
            self.ledger.drop_stage(**where, stage="train")
        named = {self.path / segment.path for segment in self.ledger.segments()}
        for kind in rows.KINDS:
            for file in (self.path / kind).glob("*"):
                if file not in named:
                    file.unlink()


def _scope(iteration: int, name: str | None = None) -> str:
    """What a segment is of: an iteration, and the name of a set of decisions."""
    return str(iteration) if name is None else f"{iteration}:{name}"


def _score_key(row: rows.ScoreRow) -> tuple[CandidateKey, str, str, bool]:
    return row.key, row.scorer, row.fingerprint, row.score.value is not None


def _written(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
