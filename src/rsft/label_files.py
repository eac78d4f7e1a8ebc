"""Labels as files: to label in a spreadsheet, or by a program of one's own."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rsft.errors import PromptError, RunError
from rsft.labelling import Frame, Labelling
from rsft.store import RunFolder
from rsft.types import CandidateKey, Label, Word

_GOOD, _BAD, _SKIPPED = ("good", "true", "yes"), ("bad", "false", "no"), "skipped"
_KEY = ("iteration", "prompt_id", "sample_index", "generator", "purpose", "labeller", "label")
_COLUMNS = (*_KEY, "asked", "reply")
_FORMULA = ("=", "+", "-", "@", "'", "\t", "\r")
"""A spreadsheet takes a text that begins so for a formula: in CSV there is a ' before it, and so before a ' itself."""


def export_labels(folder: RunFolder, frame: Frame, labelling: Labelling, count: int, file: Path) -> int:
    """Write the labels of the frame's replies, and the labeller's next `count` replies without one, as CSV or JSONL
    (by the file's ending). Returns the rows. Raises RunError."""
    labels = folder.labels(iteration=frame.iteration)
    places = frame.stored.places_of([one.key for one in labels]).tolist()
    rows = [
        (one.key, one.purpose, one.labeller, one.word if one.word != "graded" else f"{1 - (one.loss or 0.0):g}")
        for one, place in zip(labels, places, strict=True)
        if place >= 0 and frame.is_left(place)
    ]
    asked_next = frame.stored.keys_of(np.array(labelling.queue[:count], dtype=np.intp))
    rows += [(key, labelling.purpose, labelling.labeller, "") for key in asked_next]
    place_of = frame.stored.places_of([key for key, *_ in rows])
    replies = frame.stored.texts_of(place_of)
    asked = {prompt.id: prompt.messages[-1].content for prompt in folder.load_prompts("train")}
    table = []
    for (key, purpose, labeller, said), place in zip(rows, place_of.tolist(), strict=True):
        texts = (asked.get(key.prompt_id, ""), replies[place])
        values = (key.iteration, key.prompt_id, key.sample_index, key.generator, purpose, labeller, said, *texts)
        table.append(dict(zip(_COLUMNS, values, strict=True)))
    try:
        file.write_text(_csv(table) if file.suffix == ".csv" else _jsonl(table), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{file} can't be written: {error.strerror or error}.") from None
    return len(table)


def import_labels(folder: RunFolder, frame: Frame, file: Path) -> int:
    """Keep the labels of such a file, if all of its rows are right; rows without a label are left out.

    A label is good or bad, a number from 0, bad, to 1, good, or skipped. Returns how many are new. Raises PromptError.
    """
    draw = set(frame.places.tolist())
    known = {(one.key, one.labeller): one for one in folder.labels(iteration=frame.iteration)}
    labels = []
    for number, row in enumerate(_rows(file), 1):
        where = f"{file}, row {number}"
        label = _label(row, where)
        if label is None:
            continue
        place = int(frame.stored.places_of([label.key])[0])
        if place < 0 or not (place in draw if label.purpose == "calibration" else frame.is_left(place)):
            kind = "the random draw" if label.purpose == "calibration" else "the replies"
            raise PromptError(
                f"{where}: {label.key.prompt_id}, sample {label.key.sample_index} is none of {kind} of iteration "
                f"{frame.iteration} that can be labelled for '{frame.scorer}'."
            )
        if known.get((label.key, label.labeller)) != label:
            labels.append(label)
    folder.add_labels(labels)
    return len(labels)


def _rows(file: Path) -> list[Mapping[str, Any]]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise PromptError(f"{file} can't be read: {error}.") from None
    if file.suffix == ".csv":
        return [{name: _unquoted(said) for name, said in row.items()} for row in csv.DictReader(io.StringIO(text))]
    rows: list[Mapping[str, Any]] = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            said = json.loads(line or "null")
        except ValueError as error:
            raise PromptError(f"{file}, line {number} is no JSON: {error}.") from None
        if said is not None:
            rows.append(said if isinstance(said, dict) else {})
    return rows


def _unquoted(said: Any) -> Any:
    """A cell of a CSV as it was before it was made harmless."""
    return said[1:] if isinstance(said, str) and said.startswith("'") and said[1:].startswith(_FORMULA) else said


def _label(row: Mapping[str, Any], where: str) -> Label | None:
    """The row's label, None if it has none yet. Raises PromptError."""
    missing = next((name for name in _KEY if row.get(name) is None), None)
    if missing is not None:
        raise PromptError(f"{where}: the column '{missing}' is missing. rsft label RUN --export FILE writes all.")
    said = str(row["label"]).strip().casefold()
    if not said:
        return None
    if row["purpose"] not in ("calibration", "aimed"):
        raise PromptError(f"{where}: the purpose is {row['purpose']!r}; expected calibration or aimed.")
    try:
        word, loss = _word(said)
        sample = int(row["sample_index"])
        key = CandidateKey(int(row["iteration"]), str(row["prompt_id"]), sample, str(row["generator"]))
    except ValueError:
        raise PromptError(
            f"{where}: label {said!r}, sample {row['sample_index']!r}; expected good, bad, skipped or a number from 0 "
            "to 1, and a whole number."
        ) from None
    return Label(key, str(row["labeller"]), row["purpose"], word, loss)


def _word(said: str) -> tuple[Word, float | None]:
    if said == _SKIPPED:
        return "skipped", None
    worth = 1.0 if said in _GOOD else 0.0 if said in _BAD else float(said)
    if not 0 <= worth <= 1:
        raise ValueError
    return ("good" if worth == 1 else "bad" if worth == 0 else "graded"), 1 - worth


def _csv(table: Sequence[Mapping[str, Any]]) -> str:
    said = io.StringIO()
    writer = csv.DictWriter(said, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: f"'{value}" if str(value).startswith(_FORMULA) else value for name, value in row.items()}
        for row in table
    )
    return said.getvalue()


def _jsonl(table: Sequence[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table)
