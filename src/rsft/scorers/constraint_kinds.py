"""How a reply breaks a constraint, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import regex
from pydantic_core import from_json

from rsft.scorers.asked import Asked, Limits
from rsft.scorers.json_schema import hopeless_as, problem_of, validator_of
from rsft.scorers.languages import language_of
from rsft.scorers.length import too_many_words
from rsft.text import LETTER, normalise, sentences, word_count, words
from rsft.types import Reply

_BETWEEN_PARAGRAPHS = regex.compile(r"\n(?:[ \t\r]*+(?:\*{3}|-{3})?[ \t\r]*+\n)+")
_BULLET = regex.compile(r"^[ \t]*+(?:[-*+•‣◦][ \t]++|[・·●])\S", regex.M)
_PLACEHOLDER = regex.compile(r"\[[^\[\]\n]{1,100}+\]")
_HIGHLIGHT = regex.compile(r"(?<!\*)\*{1,2}+(?=\S)[^*\n]++(?<=\S)\*{1,2}+(?!\*)")
_TITLE = regex.compile(r"<<[^\S\n]*+[^<>\s][^<>\n]*+>>")
_FENCED = regex.compile(r"```(?:json)?\n(.*)\n```", regex.S)
_COMMA = regex.compile(r"[,，、､،﹐﹑]")
_QUOTES = ('""', "''", "“”", "‘’", "„“", "„”", "«»", "»«", "「」", "『』")


class Untold(ValueError):
    """Whether a constraint is kept can't be told of this reply."""


def problems(name: str, asked: Asked, reply: Reply) -> list[str]:
    """How the reply breaks a constraint; nothing if it keeps it. Raises Untold. Takes linear time."""
    if name in _COUNTS:
        limits: Limits = getattr(asked, name)
        return limits.problems(_COUNTS[name](reply.text), name)
    return list(_CHECKS[name](asked, reply))


def hopeless(asked: Asked, beginning: Reply) -> str | None:
    """A constraint that every reply that begins so breaks, and how, if that is certain."""
    text = beginning.text
    early: dict[str, list[str]] = {}
    if asked.words:
        early["words"] = too_many_words(text, asked.words.most)
    if asked.json_schema and (problem := hopeless_as(text, validator_of(asked.json_schema))):
        early["json_schema"] = [problem]
    if asked.no_commas:
        early["no_commas"] = problems("no_commas", asked, beginning)
    return next((f"{name}: {found[0]}" for name, found in early.items() if found), None)


_COUNTS: dict[str, Callable[[str], int]] = {
    "words": word_count,
    "sentences": lambda text: len(sentences(text)),
    "paragraphs": lambda text: sum(1 for part in _BETWEEN_PARAGRAPHS.split(text) if part.strip()),
    "bullets": lambda text: sum(1 for _ in _BULLET.finditer(text)),
    "placeholders": lambda text: sum(1 for _ in _PLACEHOLDER.finditer(text)),
    "highlights": lambda text: sum(1 for _ in _HIGHLIGHT.finditer(text)),
}


def _keywords(asked: Asked, reply: Reply) -> Iterator[str]:
    said = _Phrases(reply.text)
    missing = [phrase for phrase in asked.keywords or () if not said.count(phrase)]
    if missing:
        yield f"without {', '.join(map(repr, missing))}"


def _keyword_counts(asked: Asked, reply: Reply) -> Iterator[str]:
    said = _Phrases(reply.text)
    for phrase, limits in (asked.keyword_counts or {}).items():
        if limits:
            yield from limits.problems(said.count(phrase), f"times {phrase!r}")


def _forbidden(asked: Asked, reply: Reply) -> Iterator[str]:
    said = _Phrases(reply.text)
    found = [phrase for phrase in asked.forbidden or () if said.count(phrase)]
    if found:
        yield f"says {', '.join(map(repr, found))}"


def _starts_with(asked: Asked, reply: Reply) -> Iterator[str]:
    if not _begins(normalise(reply.text), normalise(asked.starts_with or "")):
        yield f"not with {asked.starts_with!r}"


def _ends_with(asked: Asked, reply: Reply) -> Iterator[str]:
    if not _begins(normalise(reply.text)[::-1], normalise(asked.ends_with or "")[::-1]):
        yield f"not with {asked.ends_with!r}"


def _case(asked: Asked, reply: Reply) -> Iterator[str]:
    if asked.case == "title":
        wrong = next((word for word in reply.text.split() if (_first_letter(word) or "A").islower()), None)
    else:
        is_wrong = str.islower if asked.case == "upper" else str.isupper
        wrong = next((character for character in reply.text if is_wrong(character)), None)
    if wrong is not None:
        yield f"has {wrong[:40]!r}, not {asked.case} case"


def _language(asked: Asked, reply: Reply) -> Iterator[str]:
    language = language_of(reply.text)
    if language is None:
        raise Untold("the language of the reply can't be told: it is too short, or too mixed")
    if language != asked.language:
        yield f"is '{language}', not '{asked.language}'"


def _no_commas(asked: Asked, reply: Reply) -> Iterator[str]:
    if asked.no_commas and _COMMA.search(reply.text):
        yield "has a comma"


def _quoted(asked: Asked, reply: Reply) -> Iterator[str]:
    text = reply.text.strip()
    if asked.quoted and (len(text) < 3 or text[0] + text[-1] not in _QUOTES):
        yield "is not in quotation marks"


def _title(asked: Asked, reply: Reply) -> Iterator[str]:
    if asked.title and not _TITLE.search(reply.text):
        yield "has no <<title>>"


def _valid_json(asked: Asked, reply: Reply) -> Iterator[str]:
    text = reply.text.strip()
    fenced = _FENCED.fullmatch(text)
    try:
        if asked.valid_json:
            from_json(fenced[1] if fenced else text, allow_inf_nan=False)
    except ValueError as error:
        yield f"no JSON: {error}"


def _json_schema(asked: Asked, reply: Reply) -> Iterator[str]:
    if asked.json_schema and (problem := problem_of(reply.text, validator_of(asked.json_schema))):
        yield problem


def _repeats_prompt(asked: Asked, reply: Reply) -> Iterator[str]:
    conversation = reply.prompt.conversation
    if not conversation:
        raise Untold("the prompt has no message to repeat")
    if asked.repeats_prompt and not _begins(normalise(reply.text), normalise(conversation[-1].content)):
        yield "does not begin with the last message"


_CHECKS: dict[str, Callable[[Asked, Reply], Iterator[str]]] = {
    "keywords": _keywords,
    "keyword_counts": _keyword_counts,
    "forbidden": _forbidden,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "case": _case,
    "language": _language,
    "no_commas": _no_commas,
    "quoted": _quoted,
    "title": _title,
    "valid_json": _valid_json,
    "json_schema": _json_schema,
    "repeats_prompt": _repeats_prompt,
}


class _Phrases:
    """A text to be asked how often it holds a phrase: words in a row, whatever punctuation is between them."""

    def __init__(self, text: str) -> None:
        self._text = normalise(text)
        self._row = _row(self._text)

    def count(self, phrase: str) -> int:
        plain = normalise(phrase)
        row = _row(plain)
        return self._row.count(row) if row.strip() else self._text.count(plain)


def _row(normalised: str) -> str:
    """The words with a space on both sides of each."""
    return f" {'  '.join(words(normalised))} "


_SPACED_LETTER = regex.compile(f"(?V1){LETTER}")


def _begins(text: str, phrase: str) -> bool:
    """Whether the phrase stands there, and not only the beginning of a longer word."""
    if not text.startswith(phrase):
        return False
    after = text[len(phrase) : len(phrase) + 1]
    return not (_SPACED_LETTER.match(after) and _SPACED_LETTER.match(phrase[-1:]))


def _first_letter(word: str) -> str | None:
    return next((character for character in word if character.isalpha()), None)
