"""Does a reply keep clear of stock phrases?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr, StringConstraints, model_validator

from rsft.registry import fingerprint_of
from rsft.scorers.base import Scorer
from rsft.text import grams, normalise, words
from rsft.types import Reply, Score

_SHOWN = 60

Gram = tuple[str, ...]


class Novelty(Scorer):
    """1 − the greatest share of a stock phrase that the reply says, from 0 (a phrase stands in it whole) to 1 (none).

    The share is that of the phrase's word n-grams that stand anywhere in the reply, however long that is; a phrase of
    fewer than n words is one n-gram. Case, width, accents and punctuation don't matter; a script without spaces is
    read by its characters. `file` holds a phrase on each line, in UTF-8; empty lines are left out. It is read once, and
    what it holds counts, not where it is. A reply without words fails.
    """

    quick: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"phrases": ["I'm sorry, but as an AI", "feel free to ask"]}

    phrases: tuple[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)], ...] = Field(
        (), description="Stock phrases that nobody wants to hear again."
    )
    file: str | None = Field(None, description="A text file with a phrase on each line.")
    n: int = Field(3, ge=1, description="Words in a run that is looked for.")

    _stock: tuple[str, ...] = PrivateAttr(())
    _sizes: tuple[int, ...] = PrivateAttr(())
    _phrases_by_gram: dict[Gram, list[int]] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _reads_its_phrases(self) -> Novelty:
        stock = dict.fromkeys([*self.phrases, *(_lines(self.file) if self.file is not None else ())])
        if not stock:
            raise ValueError("give phrases, or a file with a phrase on each line")
        sizes = []
        for place, phrase in enumerate(stock):
            said = words(normalise(phrase))
            if not said:
                raise ValueError(f"the phrase {phrase!r} has no words")
            distinct = dict.fromkeys(grams(said, min(self.n, len(said))))
            sizes.append(len(distinct))
            for gram in distinct:
                self._phrases_by_gram.setdefault(gram, []).append(place)
        self._stock, self._sizes = tuple(stock), tuple(sizes)
        return self

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(type(self), {"stock": self._stock, "n": self.n}, self.version)

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [self._score(reply.text) for reply in replies]

    def _score(self, text: str) -> Score:
        said = words(normalise(text))
        if not said:
            return Score.failed("the reply has no words")
        heard = {gram for n in range(1, self.n + 1) for gram in grams(said, n)} & self._phrases_by_gram.keys()
        hits = Counter(place for gram in heard for place in self._phrases_by_gram[gram])
        if not hits:
            return Score(1.0, "says nothing of any stock phrase")
        nearest = min(hits, key=lambda place: (-hits[place] / self._sizes[place], place))
        phrase, share = self._stock[nearest], hits[nearest] / self._sizes[nearest]
        shown = phrase if len(phrase) <= _SHOWN else phrase[:_SHOWN] + "…"
        return Score(1 - share, f"says {share:.0%} of {shown!r}")


def _lines(file: str) -> list[str]:
    path = Path(file).expanduser()
    try:
        found = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file {path} can't be read as UTF-8 text: {error}") from None
    lines = [line.strip() for line in found.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"the file {path} holds no phrase")
    return lines
