"""A report as HTML or Markdown. What a user or a model wrote is inert in both: it is escaped, control characters are
spelled out, and what is long is cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from rsft.report.document import Document
from rsft.wording import printable, shortened

# Characters of a text that are shown.
_ASKED, _REPLY, _WORDS, _LINE = 700, 1500, 400, 1000
_MARKS = {"s1": "●", "s2": "■", "s3": "▲", "s4": "◆", "s5": "▼", "s6": "✚", "line": "┆"}
# What makes markup of a line of text: nothing else is escaped, so that it can be read as it is. A bracket is a link's
# only before another one, or first in its line; an underscore marks nothing inside a word.
_MARKDOWN = re.compile(r"([\\`*|<&$]|~(?=~)|\](?=[(\[])|(?<!\w)_|_(?!\w)|^[>#\[]|^[+-](?=\s))")


def as_html(document: Document) -> str:
    """One page that asks nobody for anything."""
    css = _source("report.css")
    text: str = _environment(html=True).get_template("report.html.j2").render(report=document, css=_safe(css))
    return text + "\n"


def as_markdown(document: Document) -> str:
    """The same without pictures: every number of theirs stands in a table."""
    return _tidy(_environment(html=False).get_template("report.md.j2").render(report=document))


def markdown_of(template: str, said: Mapping[str, Any]) -> str:
    """A card: one of the Markdown templates, filled in."""
    return _tidy(_environment(html=False).get_template(template).render(**said))


def inert_markdown(text: str) -> str:
    """A text as one line of Markdown that shows it as it is: no markup, no HTML, no link."""
    escaped = _MARKDOWN.sub(r"\\\1", " ".join(printable(text).split()))
    return escaped.replace("://", r"\://").replace("www.", r"www\.")


def fenced(text: str, language: str = "") -> str:
    """A text as a block of code that it can't end."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{printable(text).rstrip()}\n{fence}"


def distance(reply: Mapping[str, Any]) -> str:
    """How far a reply is from the line that matters for it, in words."""
    line = reply["line"]
    if line is None:
        return ""
    side = "over" if line["margin"] >= 0 else "under"
    return f"{abs(line['margin']):.3g} {side} the line of {line['rule']}"


def _safe(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _tidy(text: str) -> str:
    """Without the empty lines that a template's conditions leave."""
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _source(name: str) -> str:
    from importlib.resources import files

    return (files("rsft.report") / "templates" / name).read_text(encoding="utf-8")


def _finalised(value: Any) -> Any:
    """What an expression says, without control characters; what is safe as it is stays so."""
    return printable(value) if type(value) is str else value


@cache
def _environment(*, html: bool) -> Any:
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=html,
        undefined=StrictUndefined,
        finalize=_finalised,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., Any]] = {
        "asked": lambda text: shortened(text, _ASKED),
        "reply": lambda text: shortened(text, _REPLY),
        "words": lambda text: shortened(text, _WORDS),
        "lines": lambda text: "\n".join(shortened(line, _LINE) for line in text.split("\n")),
        "mark": _MARKS.__getitem__,
        "md": lambda text: inert_markdown(shortened(text, _WORDS)),
        "md_long": inert_markdown,
        "fenced": fenced,
        "distance": distance,
        "drawn": _safe,
    }
    environment.filters.update(filters)
    return environment
