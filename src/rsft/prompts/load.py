"""From sources to prompts: the whole way, and the one place that knows all rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rsft.errors import PromptError
from rsft.prompts.columns import Parsed, parse
from rsft.prompts.framing import Framing
from rsft.prompts.naming import Column, Naming
from rsft.prompts.read import read_rows
from rsft.prompts.rows import BadRow, Place, Problem, Problems, Row, shown
from rsft.prompts.sources import Source, find_sources
from rsft.types import Prompt


def load_prompts(
    source: str | Sequence[str],
    *,
    template: str | Mapping[str, str] | None = None,
    system: str | None = None,
    columns: Mapping[str, Column] | None = None,
    split: str = "train",
    limit: int | None = None,
) -> list[Prompt]:
    """Read prompts from files (.jsonl, .json, .csv, each also .gz, and .parquet) or datasets of the Hugging Face hub.

    A list of sources is read in order, as one. A dataset is named `org/name`, `org/name:config` or `org/name#split`;
    `split` is for those that name none. `limit` takes only the first rows of all sources together: reading stops there,
    and later rows are not checked.

    A row holds its conversation in one of `messages`, `prompt`, `conversations` (ShareGPT) or `instruction` (Alpaca). A
    last turn of the assistant's becomes the field `reference`. An `id` is a text or a number, unique over all sources;
    a row without one is named by a hash of its content, and its exact repetitions by that hash with "-2", "-3" added.

    `template` is Jinja that is rendered into the last turn's content, or a mapping of such texts for `system` and
    `user` (the last turn). `system` is put first in conversations that do not begin with a system message.

    `columns` says what words of these are called in the rows (`naming.py`): {"prompt": Column("question")}.

    Raises PromptError: for up to five rows in one message, each with its file, line and field, what was found, and what
    was expected.
    """
    framing = Framing(template, system)
    if limit is not None and limit < 1:
        raise PromptError(f"The limit of prompts is {limit}; expected 1 or more.")
    return _framed(_take(find_sources(source, split), limit), framing, Naming(columns or {}))


def load_rows(source: str | Sequence[str], *, split: str = "train") -> list[Row]:
    """The rows of the same sources as they stand there, whatever their columns. Raises PromptError as `load_prompts`
    does, for what is no row."""
    problems = Problems()
    rows = []
    for row in _take(find_sources(source, split), None):
        if isinstance(row, Problem):
            problems.add(row.place, row.text)
        else:
            rows.append(row)
    problems.raise_any()
    return rows


def prompts_of(
    rows: Iterable[Row], *, template: str | Mapping[str, str] | None = None, system: str | None = None
) -> list[Prompt]:
    """What `load_prompts` makes of rows that are at hand already. Raises PromptError as it does."""
    return _framed(rows, Framing(template, system), Naming({}))


def _framed(rows: Iterable[Row | Problem], framing: Framing, naming: Naming) -> list[Prompt]:
    problems = Problems()
    named = _with_ids(list(_parsed(rows, naming, problems)), problems)
    problems.raise_any()
    naming.check()
    prompts = list(_prompts(named, framing, problems))
    problems.raise_any()
    return prompts


def _take(sources: list[Source], limit: int | None) -> Iterator[Row | Problem]:
    """The rows of all sources, at most `limit` of them. A source without any is a problem."""
    taken = 0
    for source in sources:
        before = taken
        for row in read_rows(source):
            yield row
            taken += 1
            if taken == limit:
                return
        if taken == before:
            yield Problem(Place(source.label), "holds no rows; expected at least one prompt")


def _parsed(rows: Iterable[Row | Problem], naming: Naming, problems: Problems) -> Iterator[Parsed]:
    for row in rows:
        if isinstance(row, Problem):
            problems.add(row.place, row.text)
            continue
        try:
            yield parse(naming.of(row))
        except BadRow as error:
            problems.add(row.place, str(error))


def _with_ids(rows: list[Parsed], problems: Problems) -> list[tuple[str, Parsed]]:
    """Every row with its id. Ids that rows say are taken first, so that a hash never meets one of them."""
    places: dict[str, Place] = {}
    for row in rows:
        if row.id is None:
            continue
        if row.id in places:
            problems.add(row.place, f"field 'id' holds {shown(row.id)}, as does {places[row.id]}; expected unique ids")
        places.setdefault(row.id, row.place)
    named = []
    for row in rows:
        name = row.id
        if name is None:
            first, count = _content_hash(row), 1
            name = first
            while name in places:
                count += 1
                name = f"{first}-{count}"
            places[name] = row.place
        named.append((name, row))
    return named


def _content_hash(row: Parsed) -> str:
    """Sixteen hexadecimal digits of what the row says: the same in any file, at any line, under any template."""
    said = {"conversation": [[turn.role, turn.content] for turn in row.conversation], "fields": row.fields}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode("ascii")).hexdigest()[:16]


def _prompts(named: list[tuple[str, Parsed]], framing: Framing, problems: Problems) -> Iterator[Prompt]:
    for name, row in named:
        try:
            yield framing.prompt(name, row.conversation, row.fields)
        except BadRow as error:
            problems.add(row.place, str(error))
        except PromptError as error:
            raise PromptError(f"{row.place}: {error}") from None
