"""A fake engine that says what its script holds. For tests and examples; what it made is marked as fake in reports."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rsft.engines.base import CANCELLED, Cancelled, Pace, Request, Sampling, Watch
from rsft.engines.options import checked_options
from rsft.types import Candidate, FinishReason, Kind, Policy, Prompt


class Script(BaseModel):
    """What the fake says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    replies: list[str] = Field(
        min_length=1, description="Chosen among by the candidate's seed; {prompt} stands for the last turn."
    )
    lessons: list[str] = Field(
        default_factory=list, description="What a trained policy says instead: a fake trainer teaches nothing else."
    )


class ScriptedEngine:
    """Replies from a script: each candidate's seed chooses the line. Token ids are the bytes of the text."""

    def __init__(self, script: Script) -> None:
        self.script = script

    @classmethod
    def open(cls, options: Mapping[str, Any], student: Any, folder: Path) -> ScriptedEngine:
        return cls(checked_options(Script, "scripted", options))

    @property
    def base(self) -> Policy:
        return Policy(hash="scripted")

    @classmethod
    def serves(cls, options: Mapping[str, Any]) -> Collection[Kind]:
        checked_options(Script, "scripted", options)
        return ("adapter", "weights", "hosted")

    @property
    def description(self) -> dict[str, object]:
        return {"engine": "scripted", "fake": True}

    @property
    def rows(self) -> int:
        return 64

    @property
    def tells_tokens(self) -> bool:
        return True

    @property
    def told(self) -> Mapping[str, Sequence[str]]:
        return {}

    def text(self, token_ids: Sequence[int]) -> str:
        return bytes(token_ids).decode(errors="ignore")

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        lines = self.script.replies if policy == self.base or not self.script.lessons else self.script.lessons

        def draw(cancelled: Cancelled) -> Iterator[Sequence[Candidate]]:
            waiting = deque(sorted(requests, key=lambda request: request.key.sample_index))
            while waiting:
                if pace is not None:
                    waiting.extend(pace.further())
                said: list[Candidate] = []
                for _ in range(len(waiting)):
                    request = waiting.popleft()
                    if request.key in cancelled:
                        said.append(Candidate(request.key, "", (), "cancelled", 0.0, 0.0, CANCELLED))
                    elif pace is None or request.key.sample_index < pace.bound(request.prompt.id):
                        said.append(_recite(request, lines, watch))
                    else:
                        waiting.append(request)
                    if len(said) == self.rows:
                        break
                yield said
                if pace is not None and not said:
                    pace.wait()

        return Sampling(draw)

    def reply_logprobs(
        self, policy: Policy, replies: Sequence[tuple[Prompt, Candidate]], temperature: float
    ) -> list[float] | None:
        return None

    def release(self) -> None: ...

    def close(self) -> None: ...


def _recite(request: Request, lines: Sequence[str], watch: Watch | None) -> Candidate:
    """The line that the seed chooses, cut where the length limit or the watcher ends it."""
    line = lines[0 if request.params.temperature == 0 else request.seed % len(lines)]
    whole = line.replace("{prompt}", request.prompt.messages[-1].content).encode()
    token_ids = whole[: request.params.max_tokens]
    reason: FinishReason = "length" if len(token_ids) < len(whole) else "stop"
    watcher = watch(request) if watch else None
    for length in range(1, len(token_ids) if watcher else 0):
        said = token_ids[:length]
        ended = watcher(said.decode(errors="ignore"), length) if watcher else None
        if ended is not None:
            text = said.decode(errors="replace")
            return Candidate(request.key, text, tuple(said), "ended", 0.0, 0.0, ended.why, ended.rule)
    return Candidate(request.key, token_ids.decode(errors="replace"), tuple(token_ids), reason, 0.0, 0.0)
