"""From requests for candidates to requests to a server, and from its answers to candidates."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rsft.engines.base import Request, Watch, Watcher
from rsft.engines.remote.options import OpenAIOptions
from rsft.engines.stops import settled, stop_place
from rsft.models.chat import ChatTokenizer, Reader
from rsft.servers import Malformed, Server, Unanswered
from rsft.servers.asking import post
from rsft.servers.chat import tokens_of
from rsft.servers.endpoint import OPENAI
from rsft.types import Candidate, FinishReason, Message, SamplingParams
from rsft.wording import whole

if TYPE_CHECKING:
    from openai import AsyncOpenAI

Emit = Callable[[Candidate], None]

# The law of the model itself.
_PLAIN = SamplingParams(temperature=1)
# Seeds of candidates follow each other, and must stay exact in a JSON number.
_SEEDS = 2**52
# So many answers with fewer replies than were asked for, and none with as many: the server does not know `n`.
_SHORT_ANSWERS = 3


@dataclass(slots=True)
class Draft:
    """A reply as it comes: what is there of it."""

    text: str = ""
    token_ids: list[int] | None = None
    finish_reason: str | None = None
    logprobs: list[float] = field(default_factory=list)
    tokens: int = 0

    @property
    def says_something(self) -> bool:
        return bool(self.text or self.token_ids)

    def add(self, choice: Mapping[str, Any]) -> None:
        """Take in a choice, or a piece of one in a stream. Raises Malformed for what is none."""
        said = choice.get("message") or choice.get("delta")
        text = said.get("content") if isinstance(said, Mapping) else choice.get("text")
        if text is not None and not isinstance(text, str):
            raise Malformed(f"a choice's text is {type(text).__name__}")
        self.text += text or ""
        ids = choice.get("token_ids")
        if isinstance(ids, list) and all(isinstance(one, int) for one in ids):
            self.token_ids = (self.token_ids or []) + ids
        logprobs = _logprobs(choice.get("logprobs"))
        self.logprobs += logprobs
        self.tokens += len(ids) if isinstance(ids, list) else len(logprobs) or bool(text)
        self.finish_reason = choice.get("finish_reason") or self.finish_reason


@dataclass(slots=True)
class _Sight:
    """What a watcher sees of a reply that comes token by token, and how far it has looked."""

    watcher: Watcher
    reader: Reader | None
    seen: int = 0

    def steps(self, draft: Draft, ids: Sequence[int] | None) -> Iterator[tuple[str, int]]:
        """The draft's text, and the number of its tokens, after each token but those seen before."""
        if ids is None or self.reader is None:
            yield whole(draft.text), draft.tokens
            return
        while self.seen < len(ids):
            self.seen += 1
            yield self.reader.read(ids[: self.seen]), self.seen


@dataclass
class Flight:
    """Requests that go to the server together: of one prompt, by one law, with sample indices that follow each other.

    `owed` are those that no candidate came for yet; `drafts` is what has come of each so far.
    """

    requests: Sequence[Request]
    owed: list[Request] = field(init=False)
    drafts: dict[int, Draft] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.owed = list(self.requests)

    def together(self, most: int) -> list[Request]:
        """The first of what is owed whose indices follow each other."""
        first = self.owed[0].key.sample_index if self.owed else 0
        return [r for place, r in enumerate(self.owed[:most]) if r.key.sample_index == first + place]


class Calls:
    """How one server is asked for candidates, and what its answers mean."""

    def __init__(self, server: Server, options: OpenAIOptions, chat: ChatTokenizer | None) -> None:
        self.server = server
        self.options = options
        self.chat = chat
        self.together = options.together
        self.told: dict[str, set[str]] = {"model": set(), "system_fingerprint": set()}
        self._short, self._knows_n = 0, False
        self._prompts: dict[tuple[Message, ...], Mapping[str, Any]] = {}

    async def draw(self, name: str, flight: Flight, watch: Watch | None, emit: Emit) -> None:
        """Have the flight's candidates drawn by the model of this name, each given to `emit` when it is whole.

        Raises what `Server.ask` does; what is still owed then has failed.
        """
        about, alone = self._about(flight), False

        async def send(client: AsyncOpenAI) -> None:
            # What an attempt that broke off has brought is not asked again.
            if group := flight.together(1 if alone else self.together):
                await self._send(client, name, flight, group, watch, emit)

        while flight.owed:
            wanted = len(flight.together(1 if alone else self.together))
            try:
                await self.server.ask(send, about * wanted)
            except Unanswered:
                if wanted == 1 or self._knows_n:
                    raise
                alone = True  # it may be the number that it refuses
            else:
                if alone and not self._knows_n:
                    self.together = 1  # it was

    # -- asking ------------------------------------------------------------------------------------------------------

    def body(self, name: str, requests: Sequence[Request]) -> dict[str, Any]:
        """What is asked. All of the law is said, so that no default of the server's takes part."""
        first, options = requests[0], self.options
        law = first.params
        longest = "max_completion_tokens" if options.url == OPENAI and options.reads == "messages" else "max_tokens"
        said: dict[str, Any] = {"model": name, "temperature": law.temperature, longest: law.max_tokens}
        said |= self._prompt(first)
        said |= {"top_p": law.top_p, "seed": first.family_seed % _SEEDS + first.key.sample_index}
        # Not all servers know these: they are named only where they do something.
        wanted = {"top_k": law.top_k, "min_p": law.min_p, "repetition_penalty": law.repetition_penalty}
        idle = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
        said |= {key: value for key, value in wanted.items() if value != idle[key]}
        if law.stop:
            said["stop"] = list(law.stop)
        if len(requests) > 1:
            said["n"] = len(requests)
        if options.logprobs != "none":
            said["logprobs"] = True if options.reads == "messages" else 0
        if options.reads == "token_ids":
            assert self.chat is not None
            said |= {"return_token_ids": True, "stop_token_ids": sorted(self.chat.stop_ids)}
        return said | options.extra

    def _prompt(self, request: Request) -> Mapping[str, Any]:
        messages = request.prompt.messages
        said = self._prompts.get(messages)
        if said is None:
            if self.options.reads == "messages":
                said = {"messages": [{"role": turn.role, "content": turn.content} for turn in messages]}
            else:
                assert self.chat is not None
                ids = self.chat.prompt_ids(messages)
                said = {"prompt": ids if self.options.reads == "token_ids" else self.chat.tokenizer.decode(ids)}
            self._prompts[messages] = said
        return said

    def _about(self, flight: Flight) -> int:
        """About as many tokens as a candidate of the flight costs."""
        prompt = flight.requests[0].prompt
        return sum(len(turn.content) for turn in prompt.messages) // 3 + flight.requests[0].params.max_tokens

    async def _send(
        self,
        client: AsyncOpenAI,
        name: str,
        flight: Flight,
        group: Sequence[Request],
        watch: Watch | None,
        emit: Emit,
    ) -> None:
        """One request, and what comes of it. What it did not answer stays owed; nothing at all is Malformed."""
        path = "/chat/completions" if self.options.reads == "messages" else "/completions"
        body = self.body(name, group)
        flight.drafts = {request.key.sample_index: Draft() for request in group}
        before = len(flight.owed)
        if self.options.stream:
            await self._stream(client, path, body, flight, group, watch, emit)
        else:
            said = await post(client, path, body)
            self._heard(said)
            self.server.count(*tokens_of(said))
            for place, choice in _choices(said, len(group)).items():
                draft = flight.drafts[group[place].key.sample_index]
                draft.add(choice)
                self._close(flight, group[place], draft, said, emit)
        came = before - len(flight.owed)
        if not came:
            raise Malformed("the answer holds no whole reply")
        self._learn_of_n(len(group), came)

    async def _stream(
        self,
        client: AsyncOpenAI,
        path: str,
        body: Mapping[str, Any],
        flight: Flight,
        group: Sequence[Request],
        watch: Watch | None,
        emit: Emit,
    ) -> None:
        sights = [self._sight(watch(request) if watch else None) for request in group]
        drafts = [flight.drafts[request.key.sample_index] for request in group]
        open_ = set(range(len(group)))
        usage: Mapping[str, Any] = {}
        events = _events(client, path, {**body, "stream": True, "stream_options": {"include_usage": True}})
        try:
            async with aclosing(events):
                async for said in events:
                    self._heard(said)
                    usage = said if any(tokens_of(said)) else usage
                    for place, choice in _choices(said, len(group)).items():
                        if place not in open_:
                            continue
                        drafts[place].add(choice)
                        ended = self._watched(group[place], drafts[place], sights[place])
                        if ended is not None:
                            open_.discard(place)
                            self._give(flight, group[place], ended, emit)
                        elif drafts[place].finish_reason is not None and drafts[place].says_something:
                            open_.discard(place)
                            self._close(flight, group[place], drafts[place], usage, emit)
                    if not open_ and any(draft.finish_reason is None for draft in drafts):
                        break  # the request ends with its connection: what else would be written is not wanted
        finally:
            if written := sum(draft.tokens for draft in drafts):
                self.server.count(*(tokens_of(usage) if usage else (self._read_of(body), written)))
        for place in sorted(open_):  # of those that say nothing, the usage tells whether that is all they say
            self._close(flight, group[place], drafts[place], usage, emit)

    def _sight(self, watcher: Watcher | None) -> _Sight | None:
        return _Sight(watcher, self.chat.reader() if self.chat else None) if watcher else None

    def _watched(self, request: Request, draft: Draft, sight: _Sight | None) -> Candidate | None:
        """The candidate that a watcher ends, at the first of its new tokens where it does."""
        if sight is None or draft.finish_reason is not None:
            return None
        ids = draft.token_ids if self.chat is not None else None
        for text, tokens in sight.steps(draft, ids):
            ended = sight.watcher(text[: settled(text, request.params.stop)], tokens)
            if ended is not None:
                cut = Draft(text, ids and ids[:tokens], "ended", draft.logprobs[:tokens])
                return self._candidate(request, cut, "ended", ended.why, ended.rule)
        return None

    def _read_of(self, body: Mapping[str, Any]) -> int:
        """About as many tokens as a request's prompt has, where nobody tells."""
        prompt = body.get("prompt")
        if isinstance(prompt, list):
            return len(prompt)
        return (len(prompt) if prompt else sum(len(turn["content"]) for turn in body["messages"])) // 3

    # -- reading -----------------------------------------------------------------------------------------------------

    def _heard(self, said: Mapping[str, Any]) -> None:
        for key, known in self.told.items():
            if isinstance(value := said.get(key), str):
                known.add(value)

    def _learn_of_n(self, wanted: int, came: int) -> None:
        """A server that never gives as many replies as it is asked for is asked for one at a time."""
        if wanted == 1 or self._knows_n:
            return
        self._knows_n = came > 1
        self._short += came == 1
        if self._short >= _SHORT_ANSWERS and not self._knows_n:
            self.together = 1

    def _close(self, flight: Flight, request: Request, draft: Draft, said: Mapping[str, Any], emit: Emit) -> None:
        """Make a candidate of a draft that has come to its end, if it can be one."""
        # A reply that ends at once has a token, that of its end; whatever says nothing and counts none is a fault.
        is_nothing = not draft.says_something and not tokens_of(said)[1]
        if draft.finish_reason in (None, "abort", "error") or is_nothing:
            return  # it stays owed
        if draft.finish_reason in ("stop", "length"):
            reason: FinishReason = "stop" if draft.finish_reason == "stop" else "length"
            self._give(flight, request, self._candidate(request, draft, reason), emit)
        else:
            why = f"the server ended it: {draft.finish_reason}"
            self._give(flight, request, self._candidate(request, draft, "failed", why), emit)

    def _give(self, flight: Flight, request: Request, candidate: Candidate, emit: Emit) -> None:
        flight.owed.remove(request)
        emit(candidate)

    def _candidate(
        self,
        request: Request,
        draft: Draft,
        reason: FinishReason,
        why: str | None = None,
        ended_by: str | None = None,
    ) -> Candidate:
        text, ids = whole(draft.text), draft.token_ids
        told = ids is not None and self.chat is not None
        if self.chat is not None and ids is not None:
            text = self.chat.decode(ids)
        if reason == "stop":
            text = text[: stop_place(text, request.params.stop)]
        if ids is None and self.chat is not None:
            ids = self.chat.reply_ids(text)
            ids = ids if reason == "stop" else ids[:-1]  # the end-of-turn token
        plain = request.params == replace(_PLAIN, max_tokens=request.params.max_tokens, stop=request.params.stop)
        law, model = self.options.logprobs == "law", self.options.logprobs == "model"
        logprob = sum(draft.logprobs) if draft.logprobs else None
        return Candidate(
            request.key,
            text,
            tuple(ids or ()),
            reason,
            logprob if law or plain else None,
            logprob if model or plain else None,
            why,
            ended_by,
            retokenised=not told,
        )


def _choices(said: Mapping[str, Any], most: int) -> dict[int, Mapping[str, Any]]:
    """An answer's choices by their index. Of two with one index, neither can be told from the other: both are left out,
    as are those that nobody asked for."""
    choices = said.get("choices")
    if not isinstance(choices, list):
        raise Malformed("the answer has no list of choices")
    found: dict[int, Mapping[str, Any]] = {}
    twice: set[int] = set()
    for choice in choices:
        place = choice.get("index") if isinstance(choice, Mapping) else None
        if not isinstance(place, int) or not 0 <= place < most:
            continue
        if place in found and found[place] != choice:
            twice.add(place)
        found[place] = choice
    return {place: choice for place, choice in sorted(found.items()) if place not in twice}


def _logprobs(said: Any) -> list[float]:
    """The log-probabilities of a choice's tokens, as chat and as completions tell them."""
    if not isinstance(said, Mapping):
        return []
    content, plain = said.get("content"), said.get("token_logprobs")
    values = [one.get("logprob") for one in content] if isinstance(content, list) else plain
    found = values if isinstance(values, list) else []
    return [float(value) for value in found if isinstance(value, (int, float))]


async def _events(client: AsyncOpenAI, path: str, body: Mapping[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON objects of a stream. Raises Malformed where something else comes. Closed early, it ends the request."""
    from openai import AsyncStream

    stream = await client.post(path, cast_to=object, body=body, stream=True, stream_cls=AsyncStream[object])
    try:
        async for said in stream:
            if not isinstance(said, dict):
                raise Malformed(f"a part of the stream is {type(said).__name__}, not a JSON object")
            yield said
    finally:
        await stream.close()
        # Read on, to where it is closed: the client's stream and its generators hold each other, and would be left to
        # the garbage collector half read.
        with suppress(Exception):
            async for _ in stream:
                pass
