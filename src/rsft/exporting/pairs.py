"""Accepted replies against rejected ones: pairs for DPO, single replies with a label for KTO.

A reply that was rejected because there were enough, since it is like another, or since a scorer failed, is not a worse
one. So what is told to be worse scored under a line; and it came to its own end, for nobody should learn that a reply
is bad at the place where it was cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rsft.exporting.decided import Answered, Told
from rsft.exporting.rows import Row, Turns, conversation_of, origin, reply_turn, said_turns
from rsft.selection import Selection
from rsft.selection.certified import Certified
from rsft.selection.pool import stable_hash
from rsft.selection.threshold import Threshold

Judging = Mapping[str, Sequence[str]]
"""Rules by which a reply is worse, each with the scores that it reads."""


def lines(selection: Selection) -> Judging:
    """The rules that are a line on a score."""
    found = [rule for rule in selection.rules if isinstance(rule, Threshold | Certified)]
    return {rule.name: rule.scorers_used for rule in found}


def comparisons(selection: Selection) -> Judging:
    """The lines; or else, of a selection without any, the rules that choose by scores: what they reject scored lower
    than what they keep."""
    return lines(selection) or {rule.name: rule.scorers_used for rule in selection.rules if rule.scorers_used}


def worse(answered: Answered, rules: Judging) -> list[Told]:
    """The replies that one of these rules rejected by their scores, which came to their own end, and whose text was
    not accepted as well."""
    good = {told.text for told in answered.replies if told.accepted}

    def is_worse(told: Told) -> bool:
        if told.accepted or not told.whole or told.rule not in rules or told.text in good:
            return False
        return all(told.scores.get(name, 0.0) is not None for name in rules[told.rule])

    return [told for told in answered.replies if is_worse(told)]


def pairs_of(
    answered: Iterable[Answered],
    rules: Judging,
    turns: Turns,
    *,
    every: bool,
    by: str | None,
    seed: int,
    plain: bool,
) -> Iterator[Row]:
    """Of each prompt that has both: one accepted and one rejected reply, chosen at random by the seed; or, `by` a
    score, the highest of either side, which is the best reply against the nearest miss; or `every` pair of the two
    sides. Replies of different iterations are never paired."""
    for one in answered:
        accepted = [told for told in one.replies if told.accepted]
        rejected = worse(one, rules)
        if not accepted or not rejected:
            continue
        if every:
            pairs = [(good, bad) for good in accepted for bad in rejected]
        else:
            pairs = [(_chosen(accepted, by, seed), _chosen(rejected, by, seed))]
        prompt = said_turns(conversation_of(one.prompt, turns))
        for good, bad in pairs:
            row: Row = {"prompt": prompt, "chosen": reply_turn(good.text), "rejected": reply_turn(bad.text)}
            yield row if plain else row | _of_pair(good, bad)


def labelled(answered: Iterable[Answered], rules: Judging, turns: Turns, name: str, *, plain: bool) -> Iterator[Row]:
    """Each accepted reply as a good one, and each that is `worse` as a bad one."""
    for one in answered:
        prompt = said_turns(conversation_of(one.prompt, turns))
        for told in sorted([t for t in one.replies if t.accepted] + worse(one, rules), key=lambda told: told.key):
            row: Row = {"prompt": prompt, "completion": reply_turn(told.text), "label": told.accepted}
            more: Row = {**origin(told), "selection": name, "rule": told.rule, "scores": told.scores}
            yield row if plain else row | more


def _chosen(replies: list[Told], by: str | None, seed: int) -> Told:
    def rank(told: Told) -> tuple[float, str]:
        score = None if by is None else told.scores[by]
        chance = stable_hash("pair", seed, *origin(told).values())
        return (-score if score is not None else float("inf"), chance)

    return min(replies, key=rank)


def _of_pair(good: Told, bad: Told) -> dict[str, Any]:
    return {
        "prompt_id": good.key.prompt_id,
        "iteration": good.key.iteration,
        "rule": bad.rule,
        "chosen_key": origin(good),
        "rejected_key": origin(bad),
        "chosen_scores": good.scores,
        "rejected_scores": bad.scores,
    }
