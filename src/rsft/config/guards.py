"""What a recipe may say of the guards: what each looks for, and what it does when it finds that."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from rsft.config.section import Section


def _as_act(value: Any) -> Any:
    """`plateau: stop` stands for `plateau: {act: stop}`. (YAML reads `off` as false.)"""
    if value is False:
        return {"act": "off"}
    return {"act": value} if isinstance(value, str) else value


_ACT = "off, warn, stop (the run ends and hands back its best policy)"
_ACT_OR_BACK = f"{_ACT}, or roll_back (the run goes on from its best policy)."
Act = Literal["off", "warn", "stop"]
ActOrBack = Literal["off", "warn", "stop", "roll_back"]


class Regression(Section):
    """The held-out score fell below the best iteration's, for certain: the difference's 95% interval is below 0."""

    act: ActOrBack = Field("stop", description=_ACT_OR_BACK)


class Plateau(Section):
    """The best held-out score is several iterations old."""

    act: Act = Field("stop", description=_ACT + ".")
    after: int = Field(2, ge=1, description="So many iterations.")


class Gap(Section):
    """Acceptance rose while a held-out scorer's score fell, both for certain: the policy learns to please the scorers
    that select. Compared with the iteration at which the held-out score was best."""

    act: ActOrBack = Field("warn", description=_ACT_OR_BACK)


class Collapse(Section):
    """Replies become alike: fewer different ones among a prompt's samples, or fewer prompts that any of them solves
    while greedy replies get better."""

    act: ActOrBack = Field("warn", description=_ACT_OR_BACK)
    share: float = Field(0.25, gt=0, le=1, description="Alarm below so many times the base's share of different ones.")


class Length(Section):
    """Replies grow: scorers may reward length."""

    act: ActOrBack = Field("warn", description=_ACT_OR_BACK)
    times: float = Field(1.5, gt=1, description="Alarm above so many times the base's mean length, in words.")


class FewAccepted(Section):
    """An iteration accepted so few replies that training on them says little. (None at all always ends a run.)"""

    act: Act = Field("warn", description=_ACT + ".")
    least: int = Field(8, ge=1, description="Alarm below so many accepted replies.")


class Unsolved(Section):
    """Too many train prompts have had no accepted reply in any iteration, after the first: the model learns nothing of
    them."""

    act: Act = Field("warn", description=_ACT + ".")
    share: float = Field(0.5, gt=0, le=1, description="Alarm above this share of the train prompts.")


class GuardsSection(Section):
    """What a run watches for. Each guard may be given as what it does alone: `regression: roll_back`."""

    regression: Annotated[Regression, BeforeValidator(_as_act)] = Regression()
    plateau: Annotated[Plateau, BeforeValidator(_as_act)] = Plateau()
    gap: Annotated[Gap, BeforeValidator(_as_act)] = Gap()
    collapse: Annotated[Collapse, BeforeValidator(_as_act)] = Collapse()
    length: Annotated[Length, BeforeValidator(_as_act)] = Length()
    few_accepted: Annotated[FewAccepted, BeforeValidator(_as_act)] = FewAccepted()
    unsolved: Annotated[Unsolved, BeforeValidator(_as_act)] = Unsolved()
