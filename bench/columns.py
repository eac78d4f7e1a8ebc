"""What `bench.store` writes where noun by noun would take too long: the same kinds of rows, column by column."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rsft.store import RunFolder, rows
from rsft.store.segments import GROUP_ROWS, Segments
from rsft.store.whereabouts import Whereabouts

if TYPE_CHECKING:
    from bench.store import Talk

BLOCK = 1 << 20
"""Candidates that are made, and make a segment, at once."""
_SAID = 2
"""So many blocks of replies are made: the others say the same, with other scores and log-probabilities. A group of rows
is compressed by itself, so that this makes no file smaller."""


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
    """An iteration's candidates and scores."""

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
        """Add all rows: of candidates and of scores a segment for each block. The next one is made meanwhile."""
        segments = Segments(folder.path, folder.ledger, Whereabouts(folder.path, folder.ledger))
        starts = range(0, self._candidates, BLOCK)
        with ThreadPoolExecutor(1) as hand:
            ahead = hand.submit(self._tables, starts[0])
            for start in starts:
                tables = ahead.result()
                ahead = hand.submit(self._tables, min(start + BLOCK, starts[-1]))
                made = [segments.write(kind, "1", _groups(table)) for kind, table in tables.items()]
                folder.ledger.add_segments(made)

    def _tables(self, start: int) -> dict[str, Any]:
        """A block."""
        drawn = self._drawn(start)
        return {"candidates": self._texts(start, drawn), "scores": self._scores(drawn)}

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
