"""The reference pages of the documentation, written from the program itself, so that they can't say anything else.

    python -m tools.reference

writes docs/reference/*.md and docs/recipes.md; a test says when that has to be done again.
"""

from tools.reference.pages import DOCS, pages

__all__ = ["DOCS", "pages"]
