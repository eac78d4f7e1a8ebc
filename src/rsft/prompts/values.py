"""What a field may hold: values that JSON can say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from rsft.prompts.rows import bad

_DEEPEST = 64


def plain(value: Any, name: str, depth: int = 0) -> Any:
    """The value as JSON says it: None, bool, int, finite float, text, lists, and dicts with text keys.

    Dates and times become ISO 8601 text, decimals, durations and UUIDs their text, and numpy values Python's. `name` is
    the field's, for the error. Raises BadRow for bytes, NaN, infinity, lone surrogates, and whatever else.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(encodable(value, name))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise bad(name, value, "a finite number")
        return float(value)
    if depth == _DEEPEST:
        raise bad(name.partition(".")[0].partition("[")[0], value, f"at most {_DEEPEST} levels of lists and objects")
    if isinstance(value, Mapping):
        return {_key(key, name): plain(inner, f"{name}.{key}", depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, f"{name}[{place}]", depth + 1) for place, inner in enumerate(value)]
    return _converted(value, name, depth)


def encodable(value: str, name: str) -> str:
    """The text itself, if UTF-8 can hold it: JSON's escapes can spell half a character, which nothing can encode."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise bad(name, value, "text without lone surrogates (halves of an escaped character)") from None
    return value


def _key(key: Any, name: str) -> str:
    if not isinstance(key, str):
        raise bad(name, key, "text as the name of each member")
    return encodable(key, name)


def _converted(value: Any, name: str, depth: int) -> Any:
    if isinstance(value, Decimal | timedelta | UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        raise bad(name, value, "text or numbers, not bytes")
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):  # A numpy array or scalar.
        return plain(value.tolist(), name, depth + 1)
    raise bad(name, value, f"text, numbers, lists or objects, not {type(value).__name__}")
