"""One prompt's candidates as they come, in the order of their sample indices, whatever order they come in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rsft.budget import Tally
from rsft.scoring import Scored
from rsft.selection import Pool, Selection

Ended = Callable[[Tally], bool]


def learn(families: Mapping[str, Family], scored: Sequence[Scored]) -> None:
    """Have the families (by prompt id, of one selection) hear of candidates of theirs.

    The rules that judge a candidate by itself say the same of it beside any others, so all of them are judged at once.
    """
    if not scored:
        return
    leading = families[scored[0][0].key.prompt_id].leading
    for one, passes in zip(scored, leading.decide(_pool(scored)).accepted_N.tolist(), strict=True):
        families[one[0].key.prompt_id].add(one, passes)


class Family:
    """What is known of a prompt's candidates in one iteration, and how many of them count so far.

    Candidates count in the order of their indices: the first ones, up to where the prompt ended. So what counts does
    not depend on which came first, on how quick a scorer was, or on an interruption.
    """

    def __init__(self, selection: Selection, tally: Tally | None = None) -> None:
        """`tally` tells of candidates that have come to count before."""
        self.tally = tally or Tally()
        self.leading = selection.leading
        self._further = Selection(selection.while_drawing.rules[len(self.leading.rules) :])
        self._most = self._further.most_of_a_prompt
        self._known: dict[int, Scored] = {}
        self._passes: dict[int, bool] = {}

    def add(self, scored: Scored, passes: bool) -> None:
        """What scorers said of a candidate; whether the leading rules leave it. See `learn`."""
        index = scored[0].key.sample_index
        self._known[index] = scored
        self._passes[index] = passes

    def knows(self, index: int) -> bool:
        return index in self._known

    def counted(self, start: int = 0) -> Sequence[Scored]:
        """The candidates that count, from an index on."""
        return [self._known[index] for index in range(start, self.tally.candidates)]

    def advance(self, limit: int, ended: Ended) -> bool:
        """Count what is known, up to a limit or until the prompt has ended; whether either is reached."""
        for index in range(self.tally.candidates, limit):
            if ended(self.tally):
                break
            if index not in self._known:
                return False
            self.tally = self.tally.after(self._adds_one(index), len(self._known[index][0].token_ids))
        return True

    def needed(self, limit: int, ended: Ended) -> int:
        """How many candidates are needed, whatever will be said of those that nothing is known of yet."""
        return needed(self.tally, limit, ended, self._passes)

    def _adds_one(self, index: int) -> bool:
        """Whether the accepted replies among the first ones become more than ever by this one."""
        if not self._passes[index] or self.tally.accepted == self._most:
            return False
        if not self._further.rules:
            return True
        # What the leading rules reject is nothing to the further ones: they see who is left.
        left = [self._known[i] for i in range(index + 1) if self._passes[i]]
        return self._further.accepts(_pool(left)) > self.tally.accepted


def needed(tally: Tally, limit: int, ended: Ended, passes: Mapping[int, bool]) -> int:
    """How many candidates a prompt needs for certain, that fared so and of whose further ones some are known.

    Tried are the ways that end it soonest: all unknown ones are accepted, none is, only the first is.
    """
    least = limit
    for first, others in ((True, True), (False, False), (True, False)):
        after, guess = tally, first
        for index in range(tally.candidates, least):
            if ended(after):
                least = index
                break
            if index in passes:
                accepted = passes[index]
            else:
                accepted, guess = guess, others
            after = after.after(accepted)
    return least


def _pool(chosen: Sequence[Scored]) -> Pool:
    names = chosen[0][1]
    return Pool.of([candidate for candidate, _ in chosen], {name: [said[name] for _, said in chosen] for name in names})
