"""Which language a text is in: by its script where that says it, else by py3langid, where that is sure."""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import regex

from rsft.errors import RecipeError

# Scripts in which only one of the languages is written that are told apart here.
_LANGUAGE_OF_SCRIPT = {
    "Hangul": "ko",
    "Thai": "th",
    "Greek": "el",
    "Hebrew": "he",
    "Georgian": "ka",
    "Armenian": "hy",
    "Khmer": "km",
    "Lao": "lo",
    "Myanmar": "my",
    "Tamil": "ta",
    "Telugu": "te",
    "Kannada": "kn",
    "Malayalam": "ml",
    "Gujarati": "gu",
    "Gurmukhi": "pa",
    "Oriya": "or",
    "Sinhala": "si",
    "Ethiopic": "am",
}
# The languages that py3langid chooses from. It knows more, and takes short texts in one of these for its smaller kin.
_CHOICES = [
    "af",
    "ar",
    "az",
    "be",
    "bg",
    "bn",
    "bs",
    "ca",
    "cs",
    "cy",
    "da",
    "de",
    "en",
    "es",
    "et",
    "eu",
    "fa",
    "fi",
    "fr",
    "ga",
    "gl",
    "hi",
    "hr",
    "hu",
    "id",
    "is",
    "it",
    "ja",
    "kk",
    "ky",
    "lt",
    "lv",
    "mk",
    "mn",
    "mr",
    "ms",
    "mt",
    "ne",
    "nl",
    "no",
    "pl",
    "ps",
    "pt",
    "ro",
    "ru",
    "sk",
    "sl",
    "sq",
    "sr",
    "sv",
    "sw",
    "tl",
    "tr",
    "uk",
    "ur",
    "uz",
    "vi",
    "zh",
]
LANGUAGES = frozenset(_LANGUAGE_OF_SCRIPT.values()) | frozenset(_CHOICES)
"""ISO 639-1 codes of the languages that can be told."""

_CJK = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}]")
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
_LETTER = regex.compile(r"\p{L}")
_SCRIPT = regex.compile("|".join(rf"(?P<{name}>\p{{{name}}})" for name in _LANGUAGE_OF_SCRIPT))
# Beyond these characters a text tells nothing new.
_READ = 20_000
# py3langid says something of any text, and is wrong of short ones; of phrases and sentences in 17 languages that passed
# both bounds it told every one right.
_LEAST_LETTERS = 10
_LEAST_SURE = 0.7
# Japanese text has more kana among its kanji; Chinese text may quote a few.
_LEAST_KANA = 0.15
# For Chinese without a character of kana; titles and names may be either.
_SURELY_CHINESE = 0.95


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of the language that most of the text is in, None if that can't be told.

    Scripts that one language has for itself tell it by a single letter. Han characters alone are Chinese where
    py3langid is sure that they are not Japanese. Anything else takes ten letters, and py3langid to be sure.
    """
    text = text[:_READ]
    letters = sum(1 for _ in _LETTER.finditer(text))
    cjk = sum(1 for _ in _CJK.finditer(text))
    if 2 * cjk > letters:
        return _chinese_or_japanese(text, cjk)
    for script, count in Counter(match.lastgroup for match in _SCRIPT.finditer(text)).most_common(1):
        if script is not None and 2 * count > letters:
            return _LANGUAGE_OF_SCRIPT[script]
    if letters < _LEAST_LETTERS:
        return None
    language, sure = identifier().classify(_one_line(text))
    return str(language) if sure >= _LEAST_SURE else None


def _chinese_or_japanese(text: str, cjk: int) -> str | None:
    if sum(1 for _ in _KANA.finditer(text)) >= _LEAST_KANA * cjk:
        return "ja"
    chances = dict(identifier().rank("".join(_CJK.findall(text))))
    return "zh" if chances["zh"] >= _SURELY_CHINESE * (chances["zh"] + chances["ja"]) else None


def _one_line(text: str) -> str:
    # Half a surrogate pair is no text that could be encoded.
    return " ".join(text.encode(errors="ignore").decode().split())


@cache
def identifier() -> Any:
    """py3langid, with its probabilities scaled to 1. Loading takes half a second. Raises RecipeError."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        raise RecipeError("To tell languages takes py3langid: pip install py3langid.") from None
    loaded = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    loaded.set_languages(_CHOICES)
    return loaded
