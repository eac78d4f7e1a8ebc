"""A fake engine that says what its script holds. For tests and examples; what it made is marked as fake in reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rsft.config.mistakes import mistakes
from rsft.engines.base import Request
from rsft.errors import RecipeError
from rsft.types import Candidate, Policy, SamplingParams


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
    def open(cls, options: Mapping[str, Any], network: Callable[[], Any]) -> ScriptedEngine:
        try:
            return cls(Script.model_validate(options))
        except ValidationError as error:
            lines = " ".join(mistakes(error, Script, "the engine 'scripted'", prefix="engine"))
            raise RecipeError(f"The engine 'scripted' can't be used: {lines}") from None

    @property
    def base(self) -> Policy:
        return Policy(hash="scripted")

    @property
    def description(self) -> dict[str, object]:
        return {"engine": "scripted", "fake": True}

    def sample(self, policy: Policy, requests: Sequence[Request], params: SamplingParams) -> Iterator[Candidate]:
        lines = self.script.replies if policy == self.base or not self.script.lessons else self.script.lessons
        for request in requests:
            line = lines[0 if params.temperature == 0 else request.seed % len(lines)]
            text = line.replace("{prompt}", request.prompt.messages[-1].content)
            token_ids = tuple(text.encode())[: params.max_tokens]
            cut = len(token_ids) < len(text.encode())
            yield Candidate(request.key, text, token_ids, "length" if cut else "stop", 0.0, 0.0)
