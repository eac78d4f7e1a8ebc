"""The engine 'local': what it may use, and how requests become texts and texts become candidates."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from rsft.engines.base import Cancelled, Pace, Request, Sampling, Watch, without_room
from rsft.engines.local.decoding import Decoding
from rsft.engines.local.pages import PAGE, Pool, page_count
from rsft.engines.local.passes import Pass
from rsft.engines.local.texts import Row, Stem, give_trunks, neighbours_together
from rsft.engines.options import checked_options
from rsft.engines.stops import settled, stop_place
from rsft.models.devices import free_memory, leave_unused_memory
from rsft.models.network import Network
from rsft.models.student import Student
from rsft.types import Candidate, Ended, FinishReason, Kind, Policy, Prompt

if TYPE_CHECKING:
    from rsft.engines.local.serving import ServedModel

# Candidates that decode together, and tokens in one pass. On a CPU the matrix products are at their best from some 200
# rows on, and more rows only need more memory; a GPU wants more of both.
_ROWS, _TOKENS = {"cpu": 256}, {"cpu": 512}
_ROWS_ON_GPU, _TOKENS_ON_GPU = 1024, 4096
# Keys and values may take this share of the memory that is free, unless the recipe says how much.
_MEMORY_SHARE = 0.4


class LocalOptions(BaseModel):
    """Options of the engine 'local'."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory_gib: float | None = Field(
        None, gt=0, description="Memory for keys and values, in GiB; 40% of what is free when it is left out."
    )


class LocalEngine:
    """Samples in this process, on the device where the model is."""

    def __init__(self, network: Network, options: LocalOptions | None = None) -> None:
        self.network = network
        self.options = options or LocalOptions()

    @classmethod
    def open(cls, options: Mapping[str, Any], student: Student, folder: Path) -> LocalEngine:
        checked = checked_options(LocalOptions, "local", options)
        return cls(student.network, checked)

    @property
    def base(self) -> Policy:
        return self.network.base

    @classmethod
    def serves(cls, options: Mapping[str, Any]) -> Collection[Kind]:
        checked_options(LocalOptions, "local", options)
        return ("adapter", "weights")

    @property
    def description(self) -> dict[str, object]:
        return {
            "engine": "local",
            "dtype": str(self.network.dtype).removeprefix("torch."),
            "device": str(self.network.device.type),
        }

    @property
    def rows(self) -> int:
        return _ROWS.get(self.network.device.type, _ROWS_ON_GPU)

    @property
    def tells_tokens(self) -> bool:
        return True

    @property
    def told(self) -> Mapping[str, Sequence[str]]:
        return {}

    def text(self, token_ids: Sequence[int]) -> str:
        return self.network.chat.reader().read(token_ids)

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        """See `Engine.sample`. Raises ModelError for a model that can't be served."""
        return Sampling(lambda cancelled: self._sample(policy, requests, watch, pace, cancelled))

    def reply_logprobs(
        self, policy: Policy, replies: Sequence[tuple[Prompt, Candidate]], temperature: float
    ) -> list[float] | None:
        """See `Engine.reply_logprobs`."""
        from rsft.models.likelihood import Likelihood
        from rsft.models.packing import ReplyRow

        self.network.show(policy)
        chat = self.network.chat
        rows = [ReplyRow(tuple(chat.prompt_ids(prompt.messages)), reply.token_ids) for prompt, reply in replies]
        return [float(logprobs.sum()) for logprobs in Likelihood(self.network).of(rows, temperature)]

    def release(self) -> None:
        # The pages' memory would stay with this process, and on a cluster it is another one that trains.
        leave_unused_memory(self.network.device)

    def close(self) -> None: ...

    def _sample(
        self,
        policy: Policy,
        requests: Sequence[Request],
        watch: Watch | None,
        pace: Pace | None,
        cancelled: Cancelled,
    ) -> Iterator[Candidate]:
        self.network.show(policy)
        sampled = _Sampled(self.network)
        stems, failed = sampled.stems(requests)
        yield from failed
        if not stems:
            return
        served = sampled.served
        give_trunks(stems)
        all_known = pace is None or not pace.expects_more
        pages = self._pages(served, stems if all_known else None)
        pool = Pool(served.shapes, pages, self.network.dtype, self.network.device)
        tokens = _TOKENS.get(self.network.device.type, _TOKENS_ON_GPU)
        decoding = Decoding(
            sampled,
            neighbours_together(stems),
            pool,
            rows=self.rows,
            tokens=tokens,
            watch=watch,
            pace=pace,
            cancelled=cancelled,
        )
        yield from decoding.run()

    def _pages(self, served: ServedModel, stems: Sequence[Stem] | None) -> int:
        """How many pages the pool has: what the memory holds, or fewer if they are enough for all prompts, where these
        are known."""
        page_bytes = PAGE * sum(shape.numbers for shape in served.shapes) * self.network.dtype.itemsize
        if self.options.memory_gib is not None:
            allowed = self.options.memory_gib * 2**30
        else:
            allowed = _MEMORY_SHARE * free_memory(self.network.device)
        if stems is None:
            return int(allowed / page_bytes)
        candidates = sum(len(stem.waiting) for stem in stems)
        # At most so many replies at a time, and one that each prompt keeps room for.
        replies = (min(candidates, self.rows) + len(stems)) * max(stem.reply_pages for stem in stems)
        everything = replies + sum(page_count(len(stem.prompt_ids)) for stem in stems)
        return min(int(allowed / page_bytes), everything)


class _Sampled:
    """The model and the tokenizer, as decoding sees them."""

    def __init__(self, network: Network) -> None:
        self.chat = network.chat
        self.context_length = network.context_length
        self._network = network

    @cached_property
    def served(self) -> ServedModel:
        from rsft.engines.local.serving import ServedModel

        return ServedModel(self._network.module, self._network.reference)

    def stems(self, requests: Sequence[Request]) -> tuple[list[Stem], list[Candidate]]:
        by_prompt: dict[str, list[Request]] = {}
        for request in sorted(requests, key=lambda request: request.key):
            by_prompt.setdefault(request.prompt.id, []).append(request)
        stems, failed = [], []
        for family in by_prompt.values():
            prompt_ids = self.chat.prompt_ids(family[0].prompt.messages)
            room = self.context_length - len(prompt_ids)
            met = deque(request for request in family if request.params.max_tokens <= room)
            failed += [
                without_room(request, len(prompt_ids), self.context_length)
                for request in family
                if request.params.max_tokens > room
            ]
            if met:
                stems.append(Stem(prompt_ids, met))
        return stems, failed

    def logits(self, texts: Pass) -> Any:
        return self.served.logits(texts)

    def ending(self, row: Row) -> FinishReason | None:
        if row.token_ids[-1] in self.chat.stop_ids or self._says_stop(row):
            return "stop"
        return "length" if len(row.token_ids) == row.request.params.max_tokens else None

    def watched(self, row: Row) -> Ended | None:
        if row.watcher is None:
            return None
        if row.reader is None:
            row.reader = self.chat.reader()
        text = row.reader.read(row.token_ids)
        return row.watcher(text[: settled(text, row.request.params.stop)], len(row.token_ids))

    def candidate(
        self, row: Row, reason: FinishReason, why: str | None = None, ended_by: str | None = None
    ) -> Candidate:
        text = self.chat.decode(row.token_ids)
        if reason == "stop":
            text = text[: stop_place(text, row.request.params.stop)]
        logprobs = row.logprob, row.model_logprob
        return Candidate(row.request.key, text, tuple(row.token_ids), reason, *logprobs, why, ended_by)

    def _says_stop(self, row: Row) -> bool:
        """Whether a stop string ends with the newest token."""
        stops = row.request.params.stop
        if not stops:
            return False
        # A token is a byte of text at least, so such a string lies within this many tokens.
        reach = max(len(stop.encode()) for stop in stops)
        return stop_place(self.chat.decode(row.token_ids[-reach:]), stops) is not None
