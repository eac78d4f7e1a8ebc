"""Which pages are written from the program."""

from pathlib import Path

from tools.reference.commands import commands_page
from tools.reference.plug_ins import rules_page, scorers_page
from tools.reference.recipe import recipe_page
from tools.reference.recipes import recipes_page

DOCS = Path(__file__).parents[2] / "docs"
_NOTE = "<!-- Written by python -m tools.reference, from the program: change what is said there. -->\n\n"


def pages() -> dict[Path, str]:
    """The text of each page by its file."""
    written = {
        "recipes.md": recipes_page(),
        "reference/commands.md": commands_page(),
        "reference/recipe.md": recipe_page(),
        "reference/rules.md": rules_page(),
        "reference/scorers.md": scorers_page(),
    }
    return {DOCS / name: _NOTE + text for name, text in written.items()}
