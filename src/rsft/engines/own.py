"""An engine of a user's own: a class or function that writes replies, and what makes an engine of it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from rsft import registry
from rsft.engines.base import CANCELLED, Cancelled, Pace, Request, Sampling, Watch
from rsft.engines.options import checked_options
from rsft.engines.stops import stop_place
from rsft.errors import RecipeError, RunError, TemplateError, UserError
from rsft.types import Candidate, FinishReason, Kind, Policy, Prompt
from rsft.wording import whole

if TYPE_CHECKING:
    from rsft.models.student import Student

# An engine that fails on so many requests before it wrote anything can't do what it is asked.
_REFUSED = 4


@dataclass(frozen=True, slots=True)
class Written:
    """A reply as an engine of one's own tells it, where there is more to tell than its text.

    `token_ids` are the tokens that were sampled, the one that ends the turn included, if they are those of the recipe's
    model. `cut`: the length limit ended it, not its writer. Such a reply is never trained on.
    """

    text: str
    token_ids: Sequence[int] | None = None
    cut: bool = False


class OwnEngine(BaseModel):
    """What writes replies. A subclass declares its options as fields and has one method, `replies`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    trained: ClassVar[Collection[Kind]] = ()
    """The kinds of trained policies that it can sample from: "adapter", "weights" (folders on this disk). Without any,
    it can write what a policy is to learn from (sampling.generators), and not the policy's own replies."""

    batch: int = Field(8, ge=1, description="Most replies that it is asked for at once.")

    def prepare(self, student: Student | None) -> None:
        """Called before a run begins: load what it takes. `student` is the model that the run trains; None where the
        engine only writes what that is to learn from. Raises a UserError where the engine can't work here."""

    def replies(self, policy: Policy, requests: Sequence[Request]) -> Sequence[str | Written | None]:
        """What the policy replies to each request, in order: a text, more than a text (Written), or None for failed.

        A reply should hang on its own request only: `request.seed` is made for that. Stop strings need not be heeded:
        the reply ends at the first in any case.
        """
        raise NotImplementedError

    def release(self) -> None:
        """A policy will be trained now: leave it the device, if that is shared."""

    def close(self) -> None:
        """Nothing will be sampled any more."""

    @property
    def fingerprint(self) -> str:
        """What tells it from any other: its class, its options, and the file that it comes from."""
        return registry.fingerprint_of(type(self), self.model_dump(mode="json", fallback=str, exclude={"batch"}))

    @classmethod
    def serves(cls, options: Mapping[str, Any]) -> Collection[Kind]:
        """See `EngineKind.serves`."""
        checked_options(cls, cls.__name__, options)
        return cls.trained

    @classmethod
    def open(cls, options: Mapping[str, Any], student: Student | None, folder: Path) -> WrittenBy:
        """See `EngineKind.open`."""
        return WrittenBy(cls.__name__, checked_options(cls, cls.__name__, options), student)


class _Function(OwnEngine):
    """A function of a user's own over a batch of requests."""

    options: dict[str, Any] = {}
    _call: Callable[..., Any] = PrivateAttr()

    @classmethod
    def of(cls, call: Callable[..., Any], said: Mapping[str, Any]) -> _Function:
        options = {key: value for key, value in said.items() if key != "batch"}
        if problems := registry.misuses(call, options, takes="list of requests"):
            lines = "\n".join(f"  - {problem}" for problem in problems)
            raise RecipeError(f"The engine '{call.__name__}' can't be used:\n{lines}")
        known = {key: value for key, value in said.items() if key == "batch"}
        engine = checked_options(cls, call.__name__, known | {"options": options})
        engine._call = call
        return engine

    def replies(self, policy: Policy, requests: Sequence[Request]) -> Sequence[str | Written | None]:
        said: Sequence[str | Written | None] = self._call(list(requests), **self.options)
        return said

    @property
    def fingerprint(self) -> str:
        return registry.fingerprint_of(self._call, self.options)


class OfFunction:
    """What a recipe that names a function gets for an engine's class."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def serves(self, options: Mapping[str, Any]) -> Collection[Kind]:
        """See `EngineKind.serves`: a function is told of no policy."""
        _Function.of(self._function, options)
        return ()

    def open(self, options: Mapping[str, Any], student: Student | None, folder: Path) -> WrittenBy:
        """See `EngineKind.open`."""
        return WrittenBy(self._function.__name__, _Function.of(self._function, options), student)


class WrittenBy:
    """The engine around one of a user's own. See `Engine` for what its methods promise."""

    def __init__(self, name: str, own: OwnEngine, student: Student | None) -> None:
        self.name, self.own = name, own
        self.student = student if student is not None and student.is_here else None
        self.told: Mapping[str, Sequence[str]] = {}
        self._wrote = False
        self._refused = 0
        own.prepare(student)

    @property
    def base(self) -> Policy:
        if self.student is not None:
            return self.student.base
        return Policy(hash=hashlib.sha256(f"own\0{self.name}\0{self.own.fingerprint}".encode()).hexdigest()[:16])

    @property
    def description(self) -> dict[str, object]:
        return {"engine": self.name, "of": self.own.fingerprint}

    @property
    def rows(self) -> int:
        return self.own.batch

    @property
    def tells_tokens(self) -> bool:
        return self.student is not None

    def text(self, token_ids: Sequence[int]) -> str:
        return self.student.chat.reader().read(token_ids) if self.student is not None else ""

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        """See `Engine.sample`. Replies come whole, so nobody watches them. Raises RunError where the first of them fail
        one and all."""
        return Sampling(lambda cancelled: self._sample(policy, requests, pace, cancelled))

    def reply_logprobs(
        self, policy: Policy, replies: Sequence[tuple[Prompt, Candidate]], temperature: float
    ) -> list[float] | None:
        return None

    def release(self) -> None:
        self.own.release()

    def close(self) -> None:
        self.own.close()

    def _sample(
        self, policy: Policy, requests: Sequence[Request], pace: Pace | None, cancelled: Cancelled
    ) -> Iterator[Sequence[Candidate]]:
        waiting = deque(sorted(requests, key=lambda request: (request.key.sample_index, request.key)))
        while waiting:
            if pace is not None:
                waiting.extend(pace.further())
            batch = self._next_batch(waiting, pace, cancelled)
            # Looked at once: whoever takes a candidate may cancel others.
            unwanted = {request.key for request in batch if request.key in cancelled}
            wanted = [request for request in batch if request.key not in unwanted]
            gone = [Candidate(key, "", (), "cancelled", None, None, CANCELLED) for key in sorted(unwanted)]
            yield [*gone, *map(self._candidate, wanted, self._replies(policy, wanted))]
            if pace is not None and not batch:
                pace.wait()

    def _next_batch(self, waiting: deque[Request], pace: Pace | None, cancelled: Cancelled) -> list[Request]:
        """What is done next, taken off what waits."""
        batch: list[Request] = []
        held: list[Request] = []
        while waiting and len(batch) < self.own.batch:
            request = waiting.popleft()
            is_free = pace is None or request.key.sample_index < pace.bound(request.prompt.id)
            (batch if is_free or request.key in cancelled else held).append(request)
        waiting.extendleft(reversed(held))
        return batch

    def _replies(self, policy: Policy, requests: Sequence[Request]) -> list[Written | str]:
        """A reply to each, or why there is none. A batch that fails is asked for one by one: a request that can't be
        met never spoils its neighbours."""
        if not requests:
            return []
        try:
            said = self.own.replies(policy, list(requests))
            if said is None or isinstance(said, str) or len(said) != len(requests):
                count = len(said) if isinstance(said, Sequence) and not isinstance(said, str) else type(said).__name__
                raise TypeError(f"it gave {count} for {len(requests)} requests")
        except Exception as error:
            if isinstance(error, UserError) and not isinstance(error, TemplateError):
                raise
            if len(requests) > 1:
                return [one for request in requests for one in self._replies(policy, [request])]
            return [self._failed(f"{type(error).__name__}: {error}")]
        return [self._understood(one) for one in said]

    def _understood(self, said: Any) -> Written | str:
        told = said if isinstance(said, Written) else Written(said)
        if not isinstance(told.text, str):
            found = type(told.text).__name__
            return self._failed("it gave no reply" if told.text is None else f"it gave {found}, not a text")
        try:
            ids = None if told.token_ids is None else tuple(map(index, told.token_ids))
        except TypeError:
            return self._failed("its token ids are no sequence of whole numbers")
        self._wrote = True
        return Written(whole(told.text), ids, told.cut)

    def _failed(self, why: str) -> str:
        self._refused += 1
        why = whole(why)
        if not self._wrote and self._refused >= _REFUSED:
            raise RunError(f"The engine '{self.name}' failed on each of the first {_REFUSED} requests: {why}")
        return why

    def _candidate(self, request: Request, said: Written | str) -> Candidate:
        if isinstance(said, str):
            return Candidate(request.key, "", (), "failed", None, None, said)
        most, stops = request.params.max_tokens, request.params.stop
        text, ids, cut = said.text, said.token_ids, said.cut
        if (end := stop_place(text, stops)) is not None:
            text, ids, cut = text[:end], ids and self._through_stop(ids, stops), False
        if ids is None and self.student is not None:
            own = tuple(self.student.chat.reply_ids(text))
            cut = cut or len(own) > most
            ids = own[:-1][:most] if cut else own
            text = self.student.chat.decode(ids) if len(ids) < len(own) - 1 else text
        reason: FinishReason = "length" if cut else "stop"
        return Candidate(request.key, text, tuple(ids or ()), reason, None, None, retokenised=said.token_ids is None)

    def _through_stop(self, ids: Sequence[int], stops: Sequence[str]) -> Sequence[int]:
        """The tokens up to the one with which a stop string is there: no other is part of the reply."""
        if self.student is None:
            return ids
        chat = self.student.chat
        ends = (n for n in range(1, len(ids)) if stop_place(chat.decode(ids[:n]), stops) is not None)
        return ids[: next(ends, len(ids))]
