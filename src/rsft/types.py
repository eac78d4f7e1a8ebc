"""The nouns: plain values that every floor shares. No I/O and no heavy import here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal

ROLES = ("system", "user", "assistant", "tool")

FinishReason = Literal["stop", "length", "ended", "cancelled", "failed"]
"""Why a candidate ended: at an end-of-turn token or a stop string, at the length limit, by a rule that watched it,
because nobody wanted it any more, or because it could not be drawn (the last three: see `Candidate.why`)."""

Purpose = Literal["calibration", "aimed"]
Word = Literal["good", "bad", "graded", "skipped", "undone"]
Verdict = Literal["first", "second", "tie", "skipped", "undone"]
Kind = Literal["adapter", "weights", "hosted"]
"""What there is of a trained policy: an adapter or whole weights in the run folder, or a name at its host."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. `role` is one of `ROLES`."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that awaits a reply.

    `messages` is what the model reads, `conversation` is the same before the recipe's template was applied, and
    `fields` holds every other column of the row (`facts`, `reference`, `answer`, ...) for scorers to read.
    """

    id: str
    messages: tuple[Message, ...]
    conversation: tuple[Message, ...]
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """The sampling law of a candidate, and where it ends.

    Logits of tokens that the text holds already, its prompt included, are made less likely by `repetition_penalty`
    (divided by it if positive, multiplied if not; 1 leaves them), all are divided by the `temperature` (0 means
    greedy), then tokens are cut to the `top_k` likeliest (0: all), to the likeliest that hold `top_p` of what is left,
    and to those at least `min_p` times as likely as the likeliest. `max_tokens` counts sampled tokens, the end-of-turn
    token included. A `stop` string ends the reply as well: the text ends before it, the token ids hold it.
    """

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 256
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """The model at one point of training, identified by the content of its weights.

    `adapter` is a folder with LoRA weights over the base model, `weights` a folder with a whole model, `hosted` the
    name by which a host serves it, whose weights nobody else has; all are None for the base model itself. Nobody can
    hash weights that are elsewhere: the hash of a hosted policy is one of what it was trained from, and its name.
    """

    hash: str
    adapter: str | None = None
    weights: str | None = None
    hosted: str | None = None

    @property
    def folder(self) -> Path | None:
        """Where the weights of its own lie; None for those of the base, and of a host."""
        where = self.adapter or self.weights
        return Path(where) if where else None


@dataclass(frozen=True, slots=True, order=True)
class CandidateKey:
    """What tells a candidate from every other one of a run.

    `generator` is the fingerprint of policy, engine and sampling law. Iteration 0 is the base model's evaluation.
    """

    iteration: int
    prompt_id: str
    sample_index: int
    generator: str

    def __hash__(self) -> int:
        # Of what tells most keys apart: it is asked for many times in a candidate's life.
        return hash((self.prompt_id, self.sample_index))

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is sent: see `Candidate`."""
        return CandidateKey, (self.iteration, self.prompt_id, self.sample_index, self.generator)


in_order_of_keys = attrgetter("iteration", "prompt_id", "sample_index", "generator")
"""What to sort many keys by: it comes to the same as their own comparisons, in a fraction of the time."""


@dataclass(frozen=True, slots=True)
class Ended:
    """What ends a candidate in the making: the name of the rule that can't accept it any more, and why."""

    rule: str
    why: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One sampled reply: its text and the exact token ids that were sampled, end-of-turn token included.

    `logprob` sums the tokens' log-probabilities under the sampling law (temperature and cuts applied), `model_logprob`
    under the plain model; both in nats, and None where whoever sampled does not tell. `why` is the reason for a
    candidate that is no whole reply: one that a rule ended (`ended_by` names it), that was cancelled, or that failed.

    `retokenised`: whoever sampled told the text only, or has another tokenizer than the policy. The token ids are then
    those of the policy's tokenizer for this text.
    """

    key: CandidateKey
    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    logprob: float | None
    model_logprob: float | None
    why: str | None = None
    ended_by: str | None = None
    retokenised: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """How it is sent, by the million: a dataclass with slots would look up its fields each time."""
        law = self.finish_reason, self.logprob, self.model_logprob, self.why, self.ended_by, self.retokenised
        return Candidate, (self.key, self.text, self.token_ids, *law)

    @property
    def is_reply(self) -> bool:
        """Whether it went as far as the model and the length limit let it, so that there is something to score."""
        return self.finish_reason in ("stop", "length")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a scorer sees: one reply to one prompt. It may be a candidate, or a reference that stands beside them."""

    prompt: Prompt
    text: str
    token_ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Score:
    """What one scorer says of one reply: a finite value with an explanation, or failed with a reason.

    A failed score has no value: it is never 0, and no rule accepts it.
    """

    value: float | None
    explanation: str = ""
    failure: str | None = None

    @classmethod
    def failed(cls, reason: str) -> Score:
        return cls(value=None, failure=reason)

    @classmethod
    def of(cls, said: Any) -> Score:
        """Read what a scorer returned: a Score, a number, a bool, or None for failed. NaN and infinity are failures."""
        if isinstance(said, Score):
            if said.value is None:
                return said if said.failure else cls.failed("the scorer gave neither a value nor a reason")
            return said if math.isfinite(said.value) else cls.failed(f"the scorer returned {said.value}")
        if said is None:
            return cls.failed("the scorer returned None")
        try:
            value = float(said)
        except (TypeError, ValueError):
            return cls.failed(f"the scorer returned {type(said).__name__}, expected a number")
        return cls(value) if math.isfinite(value) else cls.failed(f"the scorer returned {value}")


@dataclass(frozen=True, slots=True)
class Decision:
    """Accepted or rejected, and the short stable name of the rule that decided."""

    accepted: bool
    rule: str
    explanation: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """What somebody said of a reply: good, bad, graded between the two, skipped, or undone.

    `loss` is 0 for good and 1 for bad; None where nothing is said. `purpose` tells labels of a random draw, which a
    threshold may be calibrated on, from those that were aimed at hard cases, which it may not.
    """

    key: CandidateKey
    labeller: str
    purpose: Purpose
    word: Word
    loss: float | None


@dataclass(frozen=True, slots=True)
class Preference:
    """Which of two replies to one prompt somebody finds better: the first, the second, a tie; or skipped, or undone.

    Which of them is the first hangs on the replies alone, not on where they were shown. `blind`: it was said before the
    labeller was shown what such words on these two policies come to.
    """

    first: CandidateKey
    second: CandidateKey
    labeller: str
    word: Verdict
    blind: bool = True


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its interval and the number of prompts (or trials) behind it."""

    value: float
    low: float
    high: float
    n: int
