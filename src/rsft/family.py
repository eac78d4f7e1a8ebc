"""One prompt's candidates as they come, in the order of their sample indices, whatever order they come in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rsft.budget import Tally
from rsft.scoring import Scored
from rsft.selection import Pool, Selection

Ended = Callable[[Tally], bool]


class Family:
    """What is known of a prompt's candidates in one iteration, and how many of them count so far.

    Candidates count in the order of their indices: the first ones, up to where the prompt ended. So what counts does
    not depend on which came first, on how quick a scorer was, or on an interruption.
    """

    def __init__(self, selection: Selection) -> None:
        self.tally = Tally()
        self._selection = selection.while_drawing
        self._leading = selection.leading
        self._known: dict[int, Scored] = {}
        self._passes: dict[int, bool] = {}

    def learn(self, scored: Scored) -> None:
        index = scored[0].key.sample_index
        self._known[index] = scored
        self._passes[index] = self._leading.accepts(_pool([scored])) == 1

    def knows(self, index: int) -> bool:
        return index in self._known

    @property
    def counted(self) -> Sequence[Scored]:
        """The candidates that count."""
        return [self._known[index] for index in range(self.tally.candidates)]

    def advance(self, limit: int, ended: Ended) -> bool:
        """Count what is known, up to a limit or until the prompt has ended; whether either is reached."""
        while self.tally.candidates < limit and not ended(self.tally):
            index = self.tally.candidates
            if index not in self._known:
                return False
            self.tally = self.tally.after(self._adds_one(index), len(self._known[index][0].token_ids))
        return True

    def needed(self, limit: int, ended: Ended) -> int:
        """How many candidates are needed, whatever will be said of those that nothing is known of yet."""
        return needed(self.tally, limit, ended, self._passes)

    def _adds_one(self, index: int) -> bool:
        """Whether the accepted replies among the first ones become more than ever by this one."""
        if not self._passes[index]:
            return False
        return self._selection.accepts(_pool([self._known[i] for i in range(index + 1)])) > self.tally.accepted


def needed(tally: Tally, limit: int, ended: Ended, passes: Mapping[int, bool]) -> int:
    """How many candidates a prompt needs for certain, that fared so and of whose further ones some are known.

    Tried are the ways that end it soonest: all unknown ones are accepted, none is, only the first is.
    """
    least = limit
    for first, others in ((True, True), (False, False), (True, False)):
        after, guess = tally, first
        while after.candidates < least and not ended(after):
            if after.candidates in passes:
                accepted = passes[after.candidates]
            else:
                accepted, guess = guess, others
            after = after.after(accepted)
        least = min(least, after.candidates)
    return least


def _pool(chosen: Sequence[Scored]) -> Pool:
    return Pool.scored([candidate for candidate, _ in chosen], {candidate.key: said for candidate, said in chosen})
