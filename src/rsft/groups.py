"""Which rows of a table hold which prompts: where to look for those of some of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rsft.selection.pool import Numbers


class Groups:
    """Of groups of rows that lie behind each other the least and the greatest number of a prompt."""

    def __init__(self) -> None:
        self._groups: list[tuple[int, int, int, int]] = []
        self._rows = 0

    def note(self, prompt_R: Numbers) -> None:
        """The next rows, by their prompts; −1 is nobody's."""
        known = prompt_R[prompt_R >= 0]
        if len(known):
            self._groups.append((int(known.min()), int(known.max()), self._rows, self._rows + len(prompt_R)))
        self._rows += len(prompt_R)

    def spans(self, prompts: Numbers) -> Sequence[range]:
        """Where rows of some prompts, whose numbers are in order, may lie."""
        if not self._groups or not len(prompts):
            return []
        least_G, most_G, from_G, to_G = np.array(self._groups).T
        at_G = np.searchsorted(prompts, least_G)
        near_G = (at_G < len(prompts)) & (prompts[np.minimum(at_G, len(prompts) - 1)] <= most_G)
        return [range(first, end) for first, end in zip(from_G[near_G].tolist(), to_G[near_G].tolist(), strict=True)]
