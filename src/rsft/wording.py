"""Numbers as people read them, and foreign text so that it does nothing and takes little room."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

# What steers a terminal or hides in a line: C1 controls, direction marks, line ends other than \n, invisible tags,
# halves of letters. Joiners are left alone, without which Persian and Indian scripts can't be read.
_STEERS = re.compile(
    r"[\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    r"\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    """A user's or a model's text with control and direction marks spelled out, so that it can do nothing to whatever
    shows it."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def whole(text: str) -> str:
    """A foreign text without halves of characters (lone surrogates), which JSON can spell, and nothing can store: two
    that belong together become their character, and any other becomes U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def inert_json(said: Any) -> str:
    """JSON to be printed, readable in any language: as for `printable`, what is in its texts can do nothing."""
    document = json.dumps(said, ensure_ascii=False, indent=2)
    # All of them are within texts, where an escape stands for the same.
    return _STEERS.sub(lambda found: json.dumps(found[0])[1:-1], document)


def shortened(text: str, most: int) -> str:
    """The first `most` characters, with how many there are in all where that is more."""
    return text if len(text) <= most else f"{text[:most]} … ({len(text):,} characters in all)"


def share(said: Mapping[str, Any]) -> str:
    """A share with its interval: 95.8% [91, 98]."""
    return f"{said['value']:.1%} [{100 * said['low']:.0f}, {100 * said['high']:.0f}]"


def share_gain(said: Mapping[str, Any]) -> str:
    """A difference of shares with its interval."""
    return f"{said['value']:+.1%} [{100 * said['low']:+.1f}, {100 * said['high']:+.1f}]"


def score_gain(said: Mapping[str, Any]) -> str:
    """A difference of scores with its interval."""
    return f"{said['value']:+.3f} [{said['low']:+.3f}, {said['high']:+.3f}]"


def size(count: int) -> str:
    """Bytes in the unit that suits them."""
    amount = float(count)
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError
