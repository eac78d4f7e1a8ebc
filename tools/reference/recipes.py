"""The page of the recipes that come with rsft, each in full."""

import re
from collections.abc import Iterator
from itertools import groupby

import yaml
from tools.reference.markdown import anchor, code, fence, page, prose, table

from rsft.config.load import find_recipe, shipped_recipes
from rsft.registry import SCORERS

_INTRO = """\
These come with rsft: `rsft run NAME` runs one, and `rsft init` writes one for your own data, commented. To change one,
keep it in a file of your own, or give `--set KEY=VALUE`. What each key means: [recipe](reference/recipe.md)."""
_SETTING = re.compile(r"(?<!`)(--set [^\s`]+[^\s`.,;:)])")
_RUNNABLE = ("rsft ", "make ", "pip ", "python ")


def recipes_page() -> str:
    """Every shipped recipe: what its header says, and the whole of it."""
    texts = {name: find_recipe(name).read_text(encoding="utf-8") for name in shipped_recipes()}
    rows = [(f"[{code(name)}](#{anchor(name)})", _purpose(text)) for name, text in texts.items()]
    blocks = ["# Shipped recipes", _INTRO, table(["recipe", "what for"], rows)]
    for name, text in texts.items():
        header, body = _apart(text)
        blocks += [f"## {name}", *_told(header), _scorers(text), fence("yaml", body)]
    return page(*blocks)


def _apart(text: str) -> tuple[list[str], str]:
    """The lines of the header without their marks, and what follows it."""
    lines = text.splitlines()
    count = next(number for number, line in enumerate(lines) if not line.startswith("#"))
    return [re.sub(r"^# ?", "", line) for line in lines[:count]], "\n".join(lines[count:]).strip()


def _told(header: list[str]) -> Iterator[str]:
    """A header as prose: lines that are indented are commands or examples, empty ones part paragraphs."""
    for kind, group in groupby(
        header, lambda line: "" if not line.strip() else "code" if line.startswith("  ") else "text"
    ):
        lines = [line.strip() for line in group]
        if kind == "code":
            yield fence("sh" if all(line.startswith(_RUNNABLE) for line in lines) else "text", "\n".join(lines))
        elif kind == "text":
            yield prose(_SETTING.sub(r"`\1`", " ".join(lines)))


def _purpose(text: str) -> str:
    """The header's first sentence."""
    header = " ".join(line for line in _apart(text)[0] if not line.startswith("  "))
    return prose(re.split(r"(?<=[.!?:]) ", header)[0].rstrip(":."))


def _scorers(text: str) -> str:
    """Which scorers it uses, each with a link to where that is explained."""
    specs = yaml.safe_load(text)["scorers"].values()
    kinds = dict.fromkeys(spec if isinstance(spec, str) else spec["type"] for spec in specs)
    return f"Scored by {', '.join(map(_link, kinds))}."


def _link(kind: str) -> str:
    """To where a scorer is explained, if it comes with rsft."""
    return f"[{code(kind)}](reference/scorers.md#{anchor(kind)})" if kind in SCORERS else code(kind)
