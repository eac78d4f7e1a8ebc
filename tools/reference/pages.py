"""Which reference pages there are."""

from pathlib import Path

from tools.reference.commands import commands_page
from tools.reference.plug_ins import rules_page, scorers_page
from tools.reference.recipe import recipe_page
from tools.reference.recipes import recipes_page

FOLDER = Path(__file__).parents[2] / "docs/reference"


def pages() -> dict[str, str]:
    """The text of each page by its file's name."""
    return {
        "commands.md": commands_page(),
        "recipe.md": recipe_page(),
        "recipes.md": recipes_page(),
        "rules.md": rules_page(),
        "scorers.md": scorers_page(),
    }
