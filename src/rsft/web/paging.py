"""Long lists, a page at a time."""

from __future__ import annotations

from typing import Any, TypeVar

_Items = TypeVar("_Items", bound=Any)


def paged(items: _Items, page: int, size: int) -> tuple[_Items, dict[str, int]]:
    """The items of a page, of so many each, or of the nearest one that there is; and which `page` that is, of how many
    `pages`, and the number of its `first` item, from 1."""
    pages = max(1, -(-len(items) // size))
    page = min(max(1, page), pages)
    start = (page - 1) * size
    return items[start : start + size], {"first": start + 1, "page": page, "pages": pages}
