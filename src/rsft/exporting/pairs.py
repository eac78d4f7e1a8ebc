"""Accepted replies against rejected ones: pairs for DPO, single replies with a label for KTO.

A reply that was rejected because there were enough, or since it is like another, is not a worse one. So what is told to
be worse was rejected by a rule that judges a reply by itself; and it came to its own end, for nobody should learn
that a reply is bad at the place where it was cut.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from rsft.exporting.decided import Answered, Told
from rsft.exporting.rows import Row, Turns, conversation_of, origin, reply_turn, said_turns
from rsft.selection.pool import stable_hash


def worse(answered: Answered, rules: Collection[str]) -> list[Told]:
    """The replies that one of these rules rejected, which came to their own end and are not what was accepted too."""
    good = {told.text for told in answered.replies if told.accepted}
    return [t for t in answered.replies if not t.accepted and t.whole and t.rule in rules and t.text not in good]


def pairs_of(
    answered: Iterable[Answered],
    rules: Collection[str],
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


def labelled(
    answered: Iterable[Answered], rules: Collection[str], turns: Turns, name: str, *, plain: bool
) -> Iterator[Row]:
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
