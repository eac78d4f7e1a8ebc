"""What watches over a run: it may get worse quietly, and nobody sits beside it. Pure: numbers in, alarms out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from rsft.config.guards import Collapse, FewAccepted, Gap, GuardsSection, Length, Plateau, Regression, Unsolved
from rsft.evaluation import ACCEPTANCE, Evaluation
from rsft.types import Interval

# Guards that look at the policy: what they find is a fault of its own.
_OF_POLICIES = ("regression", "gap", "collapse", "length")


@dataclass(frozen=True, slots=True)
class Alarm:
    """A guard found what it looks for: its name, what it does about that (warn, stop, roll_back), and why."""

    guard: str
    act: str
    why: str


@dataclass(frozen=True, slots=True)
class History:
    """What the guards look at: a run up to an iteration.

    `evaluations` are the policy's by iteration, with the base's at 0 (none where nothing is held out), and `by` is the
    score that the best is chosen by, among those that are not `disowned`. `accepted` counts this iteration's accepted
    replies, `unsolved` the `prompts` that have had none in any iteration.
    """

    iteration: int
    evaluations: Mapping[int, Evaluation]
    by: str
    accepted: int
    unsolved: int
    prompts: int
    disowned: Collection[int] = ()

    @property
    def best(self) -> int:
        """The iteration with the best held-out score, the earliest of equals; 0 is the base."""
        return best_of(self._may_be_best, self.by) or 0

    @property
    def best_before(self) -> int:
        """The same of the iterations before this one."""
        return best_of({i: one for i, one in self._may_be_best.items() if i < self.iteration}, self.by) or 0

    @property
    def _may_be_best(self) -> Mapping[int, Evaluation]:
        return {i: one for i, one in self.evaluations.items() if i not in self.disowned}


def best_of(evaluations: Mapping[int, Evaluation], by: str) -> int | None:
    """The iteration whose policy scores best on held-out prompts, the earliest of equals.

    Compared are means over the prompts on which all have a score, so that none wins because the scorer failed on its
    hard ones; one that has no score at all is not looked at.
    """
    scores = {iteration: said for iteration, one in evaluations.items() if (said := one.values(by))}
    common = set.intersection(*(set(said) for said in scores.values())) if scores else set()

    def mean(iteration: int) -> float:
        said = scores[iteration]
        return fmean(said[prompt_id] for prompt_id in sorted(common or said))

    return max(scores, key=lambda iteration: (mean(iteration), -iteration), default=None)


def alarms(said: GuardsSection, history: History) -> list[Alarm]:
    """What the recipe's guards find, the gravest first."""
    guards: dict[str, Callable[[Any, History], Iterator[str]]] = {
        "few_accepted": _few_accepted,
        "unsolved": _unsolved,
    }
    if history.iteration in history.evaluations:
        guards |= {
            "regression": _regression,
            "plateau": _plateau,
            "gap": _gap,
            "collapse": _collapse,
            "length": _length,
        }
    found = []
    for name, look in guards.items():
        settings = getattr(said, name)
        if settings.act != "off":
            found += [Alarm(name, settings.act, why) for why in look(settings, history)]
    return sorted(found, key=lambda alarm: ("stop", "roll_back", "warn").index(alarm.act))


def act(found: Sequence[Alarm]) -> str | None:
    """What is done about all of them: stop, roll_back, or nothing."""
    acts = {alarm.act for alarm in found}
    return next((gravest for gravest in ("stop", "roll_back") if gravest in acts), None)


def disowns(found: Sequence[Alarm]) -> bool:
    """Whether one of them ends the run, or sends it back, because of the policy itself: then it is never the best."""
    return any(alarm.guard in _OF_POLICIES and alarm.act in ("stop", "roll_back") for alarm in found)


def _few_accepted(said: FewAccepted, seen: History) -> Iterator[str]:
    if seen.accepted < said.least:
        yield (
            f"only {seen.accepted} replies were accepted, fewer than {said.least}: draw more candidates, or look at "
            "what rejects them (rsft show RUN --rejected)"
        )


def _unsolved(said: Unsolved, seen: History) -> Iterator[str]:
    if seen.iteration > 1 and seen.unsolved > said.share * seen.prompts:
        yield (
            f"{seen.unsolved} of {seen.prompts} train prompts have had no accepted reply in any iteration: nothing is "
            "learnt of them (rsft show RUN --prompts)"
        )


def _regression(_: Regression, seen: History) -> Iterator[str]:
    before = seen.best_before
    change = seen.evaluations[seen.iteration].gain_over(seen.evaluations[before], seen.by)
    if change.high < 0:
        yield f"{_name(seen.by)} fell since {_whose(before)}: {_change(seen.by, change)}"


def _plateau(said: Plateau, seen: History) -> Iterator[str]:
    if seen.iteration - seen.best >= said.after:
        best = seen.evaluations[seen.best].score(seen.by).value
        yield (
            f"{_name(seen.by)} is not above that of {_whose(seen.best)} ({_value(seen.by, best)}), which is "
            f"{seen.iteration - seen.best} iterations ago"
        )


def _gap(_: Gap, seen: History) -> Iterator[str]:
    own = seen.evaluations[seen.iteration]
    for name in sorted({name for reply in own.greedy.values() for name in reply.heldout_scores}):
        peak = best_of({i: one for i, one in seen.evaluations.items() if i < seen.iteration}, name) or 0
        rose = own.gain_over(seen.evaluations[peak])
        fell = own.gain_over(seen.evaluations[peak], name)
        if rose.low > 0 and fell.high < 0:
            yield (
                f"since {_whose(peak)} acceptance rose ({_change(ACCEPTANCE, rose)}) and the held-out scorer '{name}' "
                f"fell ({_change(name, fell)}): the policy learns to please the scorers that select"
            )


def _collapse(said: Collapse, seen: History) -> Iterator[str]:
    own, base = seen.evaluations[seen.iteration], seen.evaluations[0]
    now, then = own.unique_share, base.unique_share
    if now is not None and then and now < said.share * then:
        yield (
            f"of a prompt's samples {now:.0%} are different, of the base's {then:.0%}: raise sampling.temperature, "
            "accept fewer of each prompt (cap), or none alike (no_near_duplicates, most_novel)"
        )
    solves, passes = own.solved_more_than(base), own.gain_over(base)
    if solves.high < 0 < passes.low:
        yield (
            f"greedy replies got better ({_change(ACCEPTANCE, passes)}) and fewer prompts are solved by any of their "
            f"samples ({_change(ACCEPTANCE, solves)})"
        )


def _length(said: Length, seen: History) -> Iterator[str]:
    now, then = seen.evaluations[seen.iteration].mean_words, seen.evaluations[0].mean_words
    if now > said.times * then:
        yield (
            f"replies have {now:.0f} words, the base's {then:.0f}: scorers may reward length (rsft scorers test "
            "RECIPE; the rule length_matched)"
        )


def _whose(iteration: int) -> str:
    return f"iteration {iteration}" if iteration else "the base"


def _name(by: str) -> str:
    return "held-out acceptance" if by == ACCEPTANCE else f"the held-out score '{by}'"


def _value(by: str, value: float) -> str:
    return f"{value:.1%}" if by == ACCEPTANCE else f"{value:.3g}"


def _change(by: str, change: Interval) -> str:
    if by == ACCEPTANCE:
        return f"{change.value:+.1%} [{100 * change.low:+.1f}, {100 * change.high:+.1f}], n = {change.n}"
    return f"{change.value:+.3g} [{change.low:+.3g}, {change.high:+.3g}], n = {change.n}"
