"""How hard is a reply to read?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import regex
from pydantic import Field

from rsft.scorers.base import Scorer
from rsft.text import UNSPACED, normalise, sentences, word_count, words
from rsft.types import Reply, Score

_LETTER = regex.compile(r"\p{L}")
_UNSPACED_LETTER = regex.compile(rf"(?V1)[[{UNSPACED}]&&\p{{L}}]")
_CHARACTER = regex.compile(r"[\p{L}\p{Nd}]")
# In a text with more of these among its letters, 'letters a word' means nothing.
_MOST_UNSPACED = 0.1
# Björnsson's long words have more letters.
_LONG = 6


class Readability(Scorer):
    """How hard the reply is to read; lower is easier.

    `ari`: the Automated Readability Index, 4.71 characters a word + 0.5 words a sentence - 21.43, where characters are
    letters and digits (Senter & Smith 1967): about the US school grade, from some -5 to 20, open at both ends. `lix`:
    words a sentence + the percentage of words of more than six letters (Björnsson 1968); 25 is easy, 60 hard.
    `sentence_length`: words a sentence, where each Chinese or Japanese character counts as a word.

    `ari` and `lix` say nothing of scripts that do not part words as Latin does (Chinese, Japanese, Korean, Thai ...):
    such a reply is failed, as is one without words. A line ends a sentence.
    """

    quick: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"measure": "lix"}

    measure: Literal["ari", "lix", "sentence_length"] = Field("ari", description="The formula.")

    def score(self, replies: Sequence[Reply]) -> list[Score]:
        return [self._score(reply.text) for reply in replies]

    def _score(self, text: str) -> Score:
        word_total = word_count(text)
        if not word_total:
            return Score.failed("the reply has no words")
        sentence_total = len(sentences(text))
        sentence_length = word_total / sentence_total
        said = f"{sentence_length:.3g} words a sentence"
        if self.measure == "sentence_length":
            return Score(sentence_length, said)
        unspaced, letters = (sum(1 for _ in kind.finditer(text)) for kind in (_UNSPACED_LETTER, _LETTER))
        if unspaced > _MOST_UNSPACED * letters:
            return Score.failed(
                f"'{self.measure}' is not defined for a script that does not part words as Latin does: "
                "use measure: sentence_length"
            )
        if self.measure == "lix":
            long = sum(len(word) > _LONG for word in words(normalise(text)))
            return Score(sentence_length + 100 * long / word_total, f"{said}, {long} of {word_total} words are long")
        word_length = sum(1 for _ in _CHARACTER.finditer(text)) / word_total
        return Score(4.71 * word_length + 0.5 * sentence_length - 21.43, f"{said}, {word_length:.3g} characters a word")
