"""The page on tracking names every number that trackers are told."""

from __future__ import annotations

import re

from documents import DOCS

from rsft.tracking import numbers


def test_every_number_is_named() -> None:
    said = (DOCS / "tracking.md").read_text(encoding="utf-8")
    for name in (*numbers.ON_ITERATIONS, *numbers.TRAINING):
        assert re.search(rf"`{name}`|`{name}_", said), name
