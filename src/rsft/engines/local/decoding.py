"""Continuous batching: every pass carries the newest token of each candidate, and pieces of the next prompts."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from rsft.engines.base import CANCELLED, Cancelled, Pace, Request, Watch
from rsft.engines.law import draw, uniforms
from rsft.engines.local.pages import Pool, page_count
from rsft.engines.local.passes import Part, Pass, plan_pass
from rsft.engines.local.texts import Row, Stem, Trunk, give_trunks, join_trunks, neighbours_together
from rsft.types import Candidate, Ended, FinishReason

# A kind's pages are moved together once their range is so many times what is used, and so many pages more.
_LOOSE, _LOOSE_PAGES = 1.3, 8


class Model(Protocol):
    """What decoding needs of a model."""

    def logits(self, texts: Pass) -> Any:
        """Logits of the pass's wanted tokens, (wanted, V)."""
        ...

    def ending(self, row: Row) -> FinishReason | None:
        """Why the row's newest token is its last, if it is."""
        ...

    def watched(self, row: Row) -> Ended | None:
        """What the row's watcher says after its newest token."""
        ...

    def stems(self, requests: Sequence[Request]) -> tuple[list[Stem], list[Candidate]]:
        """The prompts with their requests, in the order of sample indices, and the requests that can't be met."""
        ...

    def candidate(
        self, row: Row, reason: FinishReason, why: str | None = None, ended_by: str | None = None
    ) -> Candidate:
        """What came of a row."""
        ...


class Decoding:
    """Draws candidates of many prompts, up to `rows` at a time, with keys and values in one pool.

    A pass carries at most `tokens` tokens, or half as many beside its rows if that is more, so that reading prompts
    never holds candidates up for long. A prompt is read once its pages and those of one candidate's longest reply are
    reserved, and a further candidate begins once its own are: the pool never overflows, and something always goes on.
    """

    def __init__(
        self,
        model: Model,
        stems: Sequence[Stem],
        pool: Pool,
        *,
        rows: int,
        tokens: int,
        watch: Watch | None,
        pace: Pace | None,
        cancelled: Cancelled,
    ) -> None:
        self.model = model
        self.pool = pool
        self.row_limit = rows
        self.token_limit = tokens
        self.watch = watch
        self.pace = pace
        self.cancelled = cancelled
        self.heeded = 0  # how many cancellations have been acted on
        # A prompt goes from one of these to the next. Once no candidate waits for it, only its rows know it.
        self.pending = deque(stems)
        self.reading: deque[Stem] = deque()
        self.ready: deque[Stem] = deque()
        self.rows: list[Row] = []

    def run(self) -> Iterator[Candidate]:
        """Every candidate, as it is finished."""
        while self.pending or self.reading or self.ready or self.rows:
            yield from self._take_further()
            yield from self._heed()
            yield from self._begin()
            yield from self._heed()
            self._admit()
            parts = self._next_parts()
            if self.rows or parts:
                yield from self._step(parts)
            elif self.pace and not any(map(self._room, (*self.ready, *self.pending))):
                self.pace.wait()
            elif self.pending and not self.ready:
                yield from self._give_up(next(stem for stem in self.pending if self._room(stem)))

    # -- prompts -----------------------------------------------------------------------------------------------------

    def _take_further(self) -> Iterator[Candidate]:
        """Take up the requests that have come meanwhile, under the trunks that are there where they begin alike."""
        if self.pace is None or not (further := self.pace.further()):
            return
        stems, failed = self.model.stems(further)
        there = [*self.pending, *self.reading, *self.ready, *(row.stem for row in self.rows)]
        join_trunks(stems, {id(stem.trunk): stem.trunk for stem in there if stem.trunk}.values())
        give_trunks([stem for stem in stems if stem.trunk is None])
        self.pending += neighbours_together(stems)
        yield from failed

    def _admit(self) -> None:
        """Take up prompts whose candidates may begin, so that some more are ready than there are free places."""
        on_the_way = len(self.rows) + sum(map(self._room, (*self.reading, *self.ready)))
        passed_over: list[Stem] = []
        while self.pending and on_the_way < self.row_limit + self.row_limit // 8:
            stem = self.pending.popleft()
            room = self._room(stem)
            if not room:
                passed_over.append(stem)
                continue
            if not self._make_room(stem):
                self.pending.appendleft(stem)
                break
            if stem.trunk and stem.trunk.states is None:
                stem.trunk.states = self.pool.trunk_states(len(stem.trunk.token_ids))
            stem.pages = self.pool.pages.take(page_count(len(stem.token_ids)), shared=True)
            stem.spare = True
            self.reading.append(stem)
            on_the_way += room
        self.pending.extendleft(reversed(passed_over))

    def _make_room(self, stem: Stem) -> bool:
        """Reserve what a prompt needs, at the cost of prompts that are read and may not go on now, if need be."""
        while not self.pool.pages.reserve(self._needed(stem)):
            idle = next((other for other in self.ready if not other.alive and not self._room(other)), None)
            if idle is None:
                return False
            self.ready.remove(idle)
            self._free(idle)
            idle.read, idle.logits = 0, None
            self.pending.append(idle)
        return True

    def _needed(self, stem: Stem) -> int:
        """Pages that a prompt needs to be read and to have one candidate. A trunk counts as pages too."""
        trunk = page_count(len(stem.trunk.token_ids)) if stem.trunk and stem.trunk.states is None else 0
        return trunk + page_count(len(stem.token_ids)) + stem.reply_pages

    def _next_parts(self) -> list[Part]:
        """What to read in the next pass."""
        budget = max(self.token_limit - len(self.rows), self.token_limit // 2)
        parts: list[Part] = []
        planned: dict[int, int] = {}
        for stem in self.reading:
            texts: tuple[Trunk | Stem, ...] = (stem.trunk, stem) if stem.trunk else (stem,)
            for text in texts:
                left = len(text.token_ids) - text.read - planned.get(id(text), 0)
                some = min(left, budget)
                if some:
                    parts.append((stem, text, some))
                    planned[id(text)] = planned.get(id(text), 0) + some
                    budget -= some
                if some < left:
                    return parts
        return parts

    def _give_up(self, stem: Stem) -> Iterator[Candidate]:
        """A prompt that does not fit into the pool, though nothing else is there."""
        self.pending.remove(stem)
        why = (
            f"the prompt and one reply take {self._needed(stem)} pages of keys and values, and the engine's memory "
            f"holds {self.pool.pages.count}: give it more (engine: {{type: local, memory_gib: ...}})"
        )
        for request in stem.waiting:
            yield self.model.candidate(_unbegun(request, stem), "failed", why)
        self._leave_trunk(stem)

    def _forget(self, stem: Stem) -> None:
        """Let go of a prompt that no candidate needs any more, waiting or in the making."""
        if stem.waiting or stem.alive:
            return
        self._free(stem)
        self._leave_trunk(stem)

    def _free(self, stem: Stem) -> None:
        """Give back a prompt's pages."""
        self.pool.pages.give_back(stem.pages)
        self.pool.pages.unreserve(len(stem.pages) + (stem.reply_pages if stem.spare else 0))
        stem.pages, stem.spare = [], False

    def _leave_trunk(self, stem: Stem) -> None:
        if stem.trunk is None:
            return
        stem.trunk.stems -= 1
        if stem.trunk.stems == 0 and stem.trunk.states is not None:
            stem.trunk.states = None
            self.pool.pages.unreserve(page_count(len(stem.trunk.token_ids)))

    # -- candidates --------------------------------------------------------------------------------------------------

    def _room(self, stem: Stem) -> int:
        """How many of the candidates that wait for it may begin now."""
        if self.pace is None:
            return len(stem.waiting)
        bound = self.pace.bound(stem.waiting[0].key.prompt_id)
        return sum(request.key.sample_index < bound for request in stem.waiting)

    def _begin(self) -> Iterator[Candidate]:
        """Fill free places with candidates of the prompts that are read, as far as each of them may go."""
        begun: list[Row] = []
        logits = []
        for stem in self.ready:
            free = self.row_limit - len(self.rows) - len(begun)
            if free <= 0:
                break
            for _ in range(min(free, self._room(stem))):
                if not stem.spare and not self.pool.pages.reserve(stem.reply_pages):
                    break
                begun.append(self._row(stem))
                logits.append(stem.logits)
            if not stem.waiting:
                stem.logits = None
        self.ready = deque(stem for stem in self.ready if stem.waiting)
        if begun:
            import torch

            self.rows += begun
            yield from self._draw(torch.stack(logits), begun)

    def _row(self, stem: Stem) -> Row:
        """The next candidate of a prompt, which has room for it."""
        stem.spare = False
        stem.alive += 1
        request = stem.waiting.popleft()
        watcher = self.watch(request) if self.watch else None
        return Row(request, stem, uniforms(request.seed, request.params.max_tokens), watcher)

    def _leave(self, gone: Sequence[Row]) -> None:
        """Free the places and pages of rows that ended."""
        ids = {id(row) for row in gone}
        self.rows = [row for row in self.rows if id(row) not in ids]
        for row in gone:
            stem = row.stem
            self.pool.pages.give_back(row.pages)
            stem.alive -= 1
            if stem.waiting and not stem.spare:
                stem.spare = True
            else:
                self.pool.pages.unreserve(stem.reply_pages)
            self._forget(stem)

    def _heed(self) -> Iterator[Candidate]:
        """Drop what was cancelled since the last look."""
        if len(self.cancelled) == self.heeded:
            return
        self.heeded = len(self.cancelled)
        gone = [row for row in self.rows if row.request.key in self.cancelled]
        self._leave(gone)
        for queue in (self.pending, self.reading, self.ready):
            for stem in list(queue):
                dropped = [request for request in stem.waiting if request.key in self.cancelled]
                for request in dropped:
                    stem.waiting.remove(request)
                    gone.append(_unbegun(request, stem))
                if not stem.waiting:
                    queue.remove(stem)
                    self._forget(stem)
        for row in gone:
            yield self.model.candidate(row, "cancelled", CANCELLED)

    # -- one pass ----------------------------------------------------------------------------------------------------

    def _step(self, parts: Sequence[Part]) -> Iterator[Candidate]:
        import torch

        rows = list(self.rows)
        self._tidy()
        with torch.inference_mode():
            logits = self.model.logits(plan_pass(self.pool, rows, parts))
        read = [stem for stem, text, _ in parts if text is stem and stem.is_read]
        for number, stem in enumerate(read):
            stem.logits = logits[len(rows) + number].clone()
            self.reading.remove(stem)
        self.ready += read
        yield from self._draw(logits[: len(rows)], rows)

    def _tidy(self) -> None:
        """Move pages together where a kind's range has too many holes."""
        pages = self.pool.pages
        for shared in (False, True):
            if len(pages.range(shared=shared)) <= _LOOSE * pages.used(shared=shared) + _LOOSE_PAGES:
                continue
            moves = self.pool.close_up(shared=shared)
            of_rows = {id(row.stem): row.stem for row in self.rows}.values()
            texts: Sequence[Row | Stem] = [*of_rows, *self.reading, *self.ready] if shared else self.rows
            for text in {id(text): text for text in texts}.values():
                text.pages = [moves.get(page, page) for page in text.pages]

    def _draw(self, logits: Any, rows: Sequence[Row]) -> Iterator[Candidate]:
        """Draw the next token of each row, and yield the rows that it ends."""
        by_law: dict[Any, list[int]] = {}
        for place, row in enumerate(rows):
            by_law.setdefault(row.request.params, []).append(place)
        for places in by_law.values():
            some = [rows[place] for place in places]
            self._draw_by_one_law(logits if len(some) == len(rows) else logits[self.pool.tensor(places)], some)
        candidates = {id(row): self._ended(row) for row in rows}
        self._leave([row for row in rows if candidates[id(row)]])
        for candidate in candidates.values():
            if candidate:
                yield candidate

    def _ended(self, row: Row) -> Candidate | None:
        """The candidate, if its newest token is its last."""
        if math.isnan(row.model_logprob):
            return self.model.candidate(row, "failed", "the model gave logits that are not numbers")
        if reason := self.model.ending(row):
            return self.model.candidate(row, reason)
        if ended := self.model.watched(row):
            return self.model.candidate(row, "ended", ended.why, ended.rule)
        return None

    def _draw_by_one_law(self, logits: Any, rows: Sequence[Row]) -> None:
        import torch

        params = rows[0].request.params
        numbers = np.array([row.uniforms[len(row.token_ids)] for row in rows], dtype=np.float32)
        seen = self.pool.tensor(_seen(rows)) if params.repetition_penalty != 1 else None
        with torch.inference_mode():
            drawn = draw(logits, torch.from_numpy(numbers).to(logits.device), params, seen)
        columns = (drawn.tokens.tolist(), drawn.logprobs.tolist(), drawn.model_logprobs.tolist())
        for row, token, logprob, model_logprob in zip(rows, *columns, strict=True):
            row.token_ids.append(token)
            row.logprob += logprob
            row.model_logprob += model_logprob


def _seen(rows: Sequence[Row]) -> Any:
    """Each row's text so far, padded with its first token."""
    longest = max(row.position for row in rows) + 1
    seen = np.empty((len(rows), longest), np.int64)
    for place, row in enumerate(rows):
        text = [*row.stem.prompt_ids, *row.token_ids]
        seen[place] = text[0]
        seen[place, : len(text)] = text
    return seen


def _unbegun(request: Request, stem: Stem) -> Row:
    """The row of a candidate that never began."""
    return Row(request, stem, uniforms(request.seed, 0), None)
