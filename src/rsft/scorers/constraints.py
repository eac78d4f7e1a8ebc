"""Does a reply keep to what its instruction asks of its form?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, ValidationError

from rsft.config.mistakes import mistakes
from rsft.scorers.asked import Asked
from rsft.scorers.base import Scorer
from rsft.scorers.constraint_kinds import Untold, hopeless, problems
from rsft.scorers.languages import identifier
from rsft.types import Prompt, Reply, Score


class Constraints(Scorer):
    """1 if the reply keeps every constraint, else 0; with `all_or_nothing: false`, the share that it keeps.

    Constraints come from the option `constraints` and from the prompt's field
    `field`, a mapping of the same keys, which has the last word on a constraint that both speak of. An empty reply
    keeps none. Failed: a prompt of which nothing is asked, or something that can't be; and a reply of which a
    constraint can't be told (a language in a few letters), unless another is broken and it is all or nothing.
    """

    example: ClassVar[Mapping[str, Any]] = {"constraints": {"words": {"most": 60}, "no_commas": True}}

    constraints: Asked = Field(Asked(), description="What every reply must keep.")
    field: str = Field("constraints", description="The prompt's field with what its replies must keep, too.")
    all_or_nothing: bool = Field(True, description="Whether one that is broken makes the score 0.")

    def prepare(self) -> None:
        if self.constraints.language is not None:
            identifier()

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [self._score(reply) for reply in replies]

    def hopeless(self, beginning: Reply) -> str | None:
        if not self.all_or_nothing:
            return None
        try:
            asked = self._asked(beginning.prompt)
        except ValueError:
            return None
        return hopeless(asked, beginning)

    def _score(self, reply: Reply) -> Score:
        try:
            asked = self._asked(reply.prompt)
        except ValueError as error:
            return Score.failed(str(error))
        if not reply.text.strip():
            return Score(0.0, "empty")
        broken: dict[str, list[str]] = {}
        untold = None
        for name in asked.names:
            try:
                if found := problems(name, asked, reply):
                    broken[name] = found
            except Untold as error:
                untold = str(error)
        kept, total = len(asked.names) - len(broken), len(asked.names)
        if untold and not (broken and self.all_or_nothing):
            return Score.failed(untold)
        said = "; ".join(f"{name}: {', '.join(found)}" for name, found in broken.items())
        return Score(float(not broken) if self.all_or_nothing else kept / total, said or f"keeps all {total}")

    def _asked(self, prompt: Prompt) -> Asked:
        """What is asked of replies to this prompt. Raises ValueError."""
        given = prompt.fields.get(self.field)
        if given is not None and not isinstance(given, Mapping):
            raise ValueError(f"the prompt's field '{self.field}' must be a mapping, found {type(given).__name__}")
        asked = self.constraints
        if given:
            try:
                own = Asked.model_validate(dict(given))
            except ValidationError as error:
                wrong = mistakes(error, Asked, "the constraints", self.field)
                raise ValueError("the prompt asks for what can't be: " + " ".join(wrong)) from None
            # A column of a table fills what a row leaves out with null.
            asked = asked.model_copy(update={name: value for name, value in own if value is not None})
        if not asked.names:
            raise ValueError(
                f"nothing is asked: no option 'constraints', and none in the prompt's field '{self.field}'"
            )
        return asked
