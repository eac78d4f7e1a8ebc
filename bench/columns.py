"""What `bench.store` writes where noun by noun would take too long: the same kinds of rows, column by column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsft.selection import Pool, parse_selection
from rsft.store import RunFolder, rows
from rsft.store.segments import GROUP_ROWS, Segments
from rsft.types import Candidate, Score

if TYPE_CHECKING:
    from bench.store import Talk

BLOCK = 1 << 20
"""Candidates that are made, and make a segment, at once."""
_SAID = 2
"""So many blocks of replies are made: the others say the same, with other scores and log-probabilities. A group of rows
is compressed by itself, so that this makes no file smaller."""


class _NoDetails:
    """What the rules of the bench never read."""

    texts = ()

    def candidate(self, place: int) -> Candidate:
        raise AssertionError

    def score(self, name: str, place: int) -> Score:
        raise AssertionError

    def ended_by(self, places: Any) -> list[str | None]:
        raise AssertionError


@dataclass(frozen=True, slots=True)
class _Drawn:
    """By chance, of a block's candidates (N,): prompts and indices, lengths in words, and what scorers say."""

    prompt_N: Any
    sample_N: Any
    length_N: Any
    whole_N: Any
    missed_N: Any
    named_N: Any
    relevance_N: Any
    tidy_N: Any


class Columns:
    """An iteration's candidates, scores and decisions. A block is the same each time that it is made."""

    def __init__(self, talk: Talk, candidates: int, each: int) -> None:
        import pyarrow as pa

        self._talk, self._candidates, self._each = talk, candidates, each
        self._replies: dict[int, tuple[Any, Any]] = {}
        self._words = pa.array([*talk.words], type=pa.string())
        ids = [*talk.token_ids, (2,)]
        self._id_count = np.array([len(some) for some in ids])
        self._id_start = np.cumsum(self._id_count) - self._id_count
        self._ids = np.array([token for some in ids for token in some], dtype=np.int32)

    def write(self, folder: RunFolder) -> None:
        """Add all rows: of candidates and scores a segment for each block, of decisions one in all, as a run has."""
        segments = Segments(folder.path, folder.ledger)
        blocks = range(0, self._candidates, BLOCK)
        for start in blocks:
            drawn = self._drawn(start)
            made = [segments.write("candidates", "1", _groups(self._texts(start, drawn)))]
            folder.ledger.add_segments(made)
            folder.ledger.add_segments([segments.write("scores", "1", _groups(self._scores(drawn)))])
        decided = (group for start in blocks for group in _groups(self._decided(self._drawn(start))))
        folder.ledger.add_segments([segments.write("decisions", "1:policy", decided)])

    def _drawn(self, start: int) -> _Drawn:
        from bench.store import FACTS, LONG, SHORT

        count, chance = min(BLOCK, self._candidates - start), np.random.default_rng([1, start])
        lengths = np.random.default_rng([2, start // BLOCK % _SAID]).integers(SHORT, LONG + 1, BLOCK)
        places = np.arange(start, start + count)
        return _Drawn(
            places // self._each,
            (places % self._each).astype(np.int32),
            lengths[:count],
            chance.random(count) < 0.95,
            np.searchsorted([0.45, 0.7, 0.9], chance.random(count)),
            chance.integers(0, len(FACTS) - 3, count),
            chance.beta(4, 3, count).astype(np.float32).astype(np.float64),
            chance.random(count) < 0.9,
        )

    def _texts(self, start: int, drawn: _Drawn) -> Any:
        """A block's candidates."""
        import pyarrow as pa

        chance, count, which = np.random.default_rng([3, start]), len(drawn.prompt_N), start // BLOCK % _SAID
        if which not in self._replies:
            self._replies[which] = self._said(which)
        texts, token_ids = self._replies[which]
        logprobs = -chance.gamma(3.0, 6.0, count)
        return self._table(
            "candidates",
            drawn,
            text=texts[:count],
            token_ids=token_ids[:count],
            finish_reason=pa.array(["stop", "length"]).take(pa.array(np.where(drawn.whole_N, 0, 1).astype(np.int8))),
            logprob=logprobs,
            model_logprob=logprobs * 0.8 + chance.normal(size=count),
            retokenised=np.zeros(count, dtype=np.bool_),
        )

    def _said(self, which: int) -> tuple[Any, Any]:
        """The texts and the token ids of a block's replies."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from bench.store import LONG, SHORT

        count = min(BLOCK, self._candidates)
        length_N = np.random.default_rng([2, which]).integers(SHORT, LONG + 1, BLOCK)[:count]
        words_NL = self._talk.walks(count, np.random.default_rng([4, which]))
        offsets = np.append(0, np.cumsum(length_N)).astype(np.int32)
        there_NL = np.arange(words_NL.shape[1]) < length_N[:, None]
        said = pa.ListArray.from_arrays(offsets, self._words.take(pa.array(words_NL[there_NL])))
        # Behind the last word comes the end of the turn, a token of its own.
        ended_NL = np.append(words_NL, np.zeros((count, 1), dtype=words_NL.dtype), axis=1)
        ended_NL[np.arange(count), length_N] = len(self._words)
        ended = ended_NL[np.arange(ended_NL.shape[1]) <= length_N[:, None]]
        tokens = self._id_count[ended]
        ends = np.append(0, np.cumsum(tokens))
        at = np.arange(ends[-1]) + np.repeat(self._id_start[ended] - ends[:-1], tokens)
        token_offsets = ends[np.append(0, np.cumsum(length_N + 1))].astype(np.int32)
        return pc.binary_join(said, " "), pa.ListArray.from_arrays(token_offsets, pa.array(self._ids[at]))

    def _scores(self, drawn: _Drawn) -> Any:
        """A block's scores: scorer by scorer of as many candidates as are committed at once."""
        import pyarrow as pa

        from bench.store import AT_ONCE, SCORERS

        count, why = len(drawn.prompt_N), self._why(drawn)
        none = pa.array([""] * count)
        values = {"facts": (3 - drawn.missed_N) / 3, "relevance": drawn.relevance_N, "tidy": drawn.tidy_N * 1.0}
        tables = [
            self._table(
                "scores",
                drawn,
                scorer=[name] * count,
                fingerprint=[fingerprint] * count,
                value=values[name],
                explanation=why.get(name, none),
            )
            for name, fingerprint in SCORERS.items()
        ]
        return pa.concat_tables(
            [t.slice(s, AT_ONCE) for s in range(0, count, AT_ONCE) for t in tables]
        ).combine_chunks()

    def _why(self, drawn: _Drawn) -> dict[str, Any]:
        import pyarrow as pa

        from bench.store import FACTS

        names = ["", *(f"misses {', '.join(FACTS[at : at + n])}" for n in (1, 2, 3) for at in range(len(FACTS) - 3))]
        number = np.where(drawn.missed_N > 0, 1 + (drawn.missed_N - 1) * (len(FACTS) - 3) + drawn.named_N, 0)
        lengths = pa.array(["", *(f"{words} words" for words in range(100))])
        return {
            "facts": pa.array(names).take(pa.array(number)),
            "tidy": lengths.take(pa.array(np.where(drawn.tidy_N, 0, 1 + drawn.length_N))),
        }

    def _decided(self, drawn: _Drawn) -> Any:
        """A block's decisions by the recipe's rules, with their reasons."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from bench.store import RULES

        count = len(drawn.prompt_N)
        first = int(drawn.prompt_N[0])
        prompt_N = (drawn.prompt_N - first).astype(np.int32)
        scores = {"facts": (3 - drawn.missed_N) / 3, "relevance": drawn.relevance_N, "tidy": drawn.tidy_N * 1.0}
        ids = _ids(np.arange(first, first + int(prompt_N[-1]) + 1)).to_pylist()
        pool = Pool(ids, prompt_N, drawn.sample_N, drawn.whole_N, scores, _NoDetails())
        now = parse_selection(RULES).decide(pool)
        names = pa.array([*(rule.name for rule in now.rules), "accepted", "finished"])
        why = self._why(drawn)
        relevance = pc.cast(pa.array(drawn.relevance_N.astype(np.float32)), pa.string())
        reasons = [
            pc.binary_join_element_wise("facts", pc.cast(pa.array(scores["facts"]), pa.string()), why["facts"], " = "),
            pc.binary_join_element_wise("tidy = 0", why["tidy"], ": "),
            pc.binary_join_element_wise("relevance", relevance, " = "),
            pc.binary_join_element_wise("relevance = ", relevance, " is not among the prompt's best 3", ""),
        ]
        by_N = now.by_N
        cases = pa.StructArray.from_arrays(
            [pa.array(by_N == number) for number in range(len(reasons))] + [pa.array(by_N < 0)],
            names=[*map(str, range(len(reasons))), "cut"],
        )
        explanation = pc.case_when(cases, *reasons, "cut by the length limit", "")
        return self._table(
            "decisions",
            drawn,
            selection=["policy"] * count,
            accepted=now.accepted_N,
            rule=names.take(pa.array(by_N.astype(np.int32) % len(names))),
            explanation=explanation,
        )

    def _table(self, kind: str, drawn: _Drawn, **columns: Any) -> Any:
        import pyarrow as pa

        from bench.store import GENERATOR

        count, schema = len(drawn.prompt_N), rows.schemas()[kind]
        columns |= {
            "iteration": np.ones(count, dtype=np.int32),
            "prompt_id": _ids(drawn.prompt_N),
            "sample_index": drawn.sample_N,
            "generator": pa.array([GENERATOR]).take(pa.array(np.zeros(count, dtype=np.int8))),
        }
        arrays = {field.name: columns.get(field.name, pa.nulls(count, field.type)) for field in schema}
        return pa.table({name: pa.array(column).cast(schema.field(name).type) for name, column in arrays.items()})


def _ids(numbers: Any) -> Any:
    """The ids of prompts."""
    import pyarrow as pa

    from bench.store import _id

    first = int(numbers[0])
    some = pa.array([_id(number) for number in range(first, int(numbers[-1]) + 1)])
    return some.take(pa.array(numbers - first))


def _groups(table: Any) -> Iterator[Any]:
    return (table.slice(start, GROUP_ROWS) for start in range(0, len(table), GROUP_ROWS))
