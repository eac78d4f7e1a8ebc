"""Which of two replies is better: a labeller at work on pairs, and what the labels come to.

Whoever compares does not know whose reply is whose: which one stands on the left hangs on a hash of the run's seed, the
prompt, the two policies and the labeller, so that it is the same when a page is loaded again, and is undone in what is
kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rsft import metrics
from rsft.errors import RecipeError
from rsft.pairs import Pair, Pairs, Side, measured, rank
from rsft.store import RunFolder
from rsft.types import CandidateKey, Interval, Preference, Verdict

_OPENED = "pairs_opened"
_DIFFER = 0.05

Seen = Literal["left", "right", "tie", "skipped"]
"""What is said of a pair, in the words of who sees it."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A pair as the labeller sees it, and what the labeller said of it, if anything."""

    pair: Pair
    left: str
    right: str
    said: Seen | None


class Pairing:
    """One labeller at work on pairs: `queue` holds those that were not compared yet, in their order."""

    def __init__(self, folder: RunFolder, pairs: Pairs, labeller: str) -> None:
        if not labeller.strip():
            raise RecipeError("A labeller needs a name (--by NAME).")
        self._folder, self.pairs, self.labeller = folder, pairs, labeller
        self.said = pairs.of(folder.preferences(), labeller)
        self.queue = [pair for pair in pairs.asked if pair.keys not in self.said]
        self.opened = any(
            event["kind"] == _OPENED and (event["labeller"], event["policies"]) == (labeller, self._policies)
            for event in folder.ledger.events()
        )

    @property
    def next(self) -> Shown | None:
        """The pair that is asked about now; None when all were compared."""
        return self._shown(self.queue[0]) if self.queue else None

    @property
    def last(self) -> Shown | None:
        """What was said last, if anything."""
        keys = next(reversed(self.said), None)
        return None if keys is None else self._shown(next(pair for pair in self.pairs.asked if pair.keys == keys))

    def say(self, word: Seen) -> None:
        """Keep a word on the pair that is asked about, and go on."""
        pair = self.queue[0]
        self._keep(pair, self._words(pair)[word])
        self.queue.pop(0)

    def take_back(self) -> Shown | None:
        """Take back what was said last, whenever that was, and ask again. Returns what it was; None if there was
        nothing."""
        last = self.last
        if last is not None:
            self._keep(last.pair, "undone")
            self.queue = [pair for pair in self.pairs.asked if pair.keys not in self.said]
        return last

    def open(self) -> None:
        """Note that the labeller is shown what the words come to: those from now on are no longer blind."""
        if not self.opened:
            self._folder.ledger.event(_OPENED, {"labeller": self.labeller, "policies": self._policies})
            self.opened = True

    def outcome(self, *, blind: bool = True) -> Outcome:
        """What the labeller's words come to; only those that were said blind, or all."""
        words = {keys: one for keys, one in self.said.items() if one.blind or not blind}
        return outcome(self.pairs, words, self.labeller)

    def _keep(self, pair: Pair, word: Verdict) -> None:
        one = Preference(*pair.keys, self.labeller, word, blind=not self.opened)
        self._folder.add_preferences([one])
        self.said.pop(pair.keys, None)
        if word != "undone":
            self.said[pair.keys] = one

    def _words(self, pair: Pair) -> dict[Seen, Verdict]:
        """What is kept for what is said of a pair."""
        first_is_left = self.pairs.left_is_first(pair, self.labeller)
        sides: tuple[Verdict, Verdict] = ("first", "second") if first_is_left else ("second", "first")
        return {"left": sides[0], "right": sides[1], "tie": "tie", "skipped": "skipped"}

    def _shown(self, pair: Pair) -> Shown:
        words, one = self._words(pair), self.said.get(pair.keys)
        left, right = (pair.first, pair.second) if words["left"] == "first" else (pair.second, pair.first)
        said = next((seen for seen, kept in words.items() if one is not None and kept == one.word), None)
        return Shown(pair, left.text, right.text, said)

    @property
    def _policies(self) -> list[str]:
        return [self.pairs.first.policy, self.pairs.second.policy]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How `one` does against `other` in a labeller's words.

    `ties` were said; `equal` are the prompts to which both replied the same. `skipped` count for nothing, which is
    right as long as whether one can say has nothing to do with who is better. `left` is how many of the pairs that one
    side won were won by what stood on the left: about half of them, where the place had no say. `p` is that of an exact
    sign test: how likely it is that, were both equally good, wins and losses divide so unequally, or more.
    """

    one: Side
    other: Side
    labeller: str
    wins: int
    losses: int
    ties: int
    equal: int
    skipped: int
    left: int

    @property
    def win_rate(self) -> Interval:
        """Over prompts; a tie, or an equal pair, is half a win."""
        return metrics.win_rate(self.wins, self.losses, self.ties + self.equal)

    @property
    def p(self) -> float:
        return metrics.mcnemar(self.losses, self.wins)

    @property
    def differs(self) -> bool:
        return self.p < _DIFFER

    @property
    def said(self) -> int:
        return self.wins + self.losses + self.ties + self.skipped


def outcome(pairs: Pairs, said: Mapping[tuple[CandidateKey, CandidateKey], Preference], labeller: str) -> Outcome:
    """What a labeller's words on pairs come to.

    The win rate is one over prompts, so that pairs of equal replies belong to it: left out, two policies that nearly
    always say the same would seem as far apart as two that never do. They are ties that nobody need be asked about, and
    count as far as the labeller came in the random order; so what counts is always a random sample of the prompts.
    """
    better: Verdict = "first" if pairs.first == pairs.one else "second"
    words: list[Verdict] = []
    equal = left = 0
    waiting = False
    for pair in pairs.order:
        one = said.get(pair.keys)
        waiting = waiting or (one is None and not pair.equal)
        equal += pair.equal and not waiting
        if one is not None:
            words.append(one.word)
            left += one.word == ("first" if pairs.left_is_first(pair, labeller) else "second")
    wins, ties, skipped = words.count(better), words.count("tie"), words.count("skipped")
    losses = len(words) - wins - ties - skipped
    return Outcome(pairs.one, pairs.other, labeller, wins, losses, ties, equal if words else 0, skipped, left)


def outcomes(folder: RunFolder) -> list[Outcome]:
    """What everybody's blind words on pairs of a run come to: of each two policies and each labeller, a policy before
    what it is held against. Of replies that the run has no more there is none."""
    laws = folder.ledger.generators()
    said: dict[frozenset[tuple[int, str]], list[Preference]] = {}
    for one in folder.preferences():
        of = frozenset(
            (key.iteration, laws.get(key.generator, {}).get("policy", "")) for key in (one.first, one.second)
        )
        if one.blind:
            said.setdefault(of, []).append(one)
    # Of several names of a policy, the first that was measured.
    named = {(side.drawn_in, side.policy): side for side in reversed(measured(folder).values())} if said else {}
    found = []
    for of, preferences in said.items():
        there = sorted((named[one] for one in of if one in named), key=rank)
        if len(there) == 2:
            pairs = Pairs(folder, there[0].name, there[1].name)
            for labeller in dict.fromkeys(one.labeller for one in preferences):
                if words := pairs.of(preferences, labeller):
                    found.append(outcome(pairs, words, labeller))
    return sorted(found, key=lambda one: (rank(one.one), rank(one.other), one.labeller))
