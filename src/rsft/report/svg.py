"""A matplotlib figure as an SVG element of a page: its colours are the page's, in light and in dark, and it asks nobody
for anything."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import Any

from rsft.wording import printable

# Colours that stand for the page's own: CSS variables, which differ between light and dark.
INK, MUTED, RULE = "#010101", "#020202", "#030303"
SERIES = ("#010110", "#010120", "#010130", "#010140", "#010150", "#010160")
MARKERS = ("o", "s", "^", "D", "v", "P")
_VARIABLES = {
    INK: "currentColor",
    MUTED: "var(--muted)",
    RULE: "var(--rule)",
    **{colour: f"var(--s{number})" for number, colour in enumerate(SERIES, 1)},
}
# Units of the picture: of 1/72 inch, which a page may draw larger or smaller.
_INCH = 72
_STYLE = {
    "svg.hashsalt": "rsft",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 12,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 12,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "axes.grid.axis": "y",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}


def drawn(name: str, title: str, alt: str, wide: float, high: float, draw: Callable[[Any], None]) -> str:
    """The SVG element of a figure of this size that `draw` fills, with `alt`, the same in words. `name` tells its
    ids from those of other figures.

    The same figure gives the same text.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(wide / _INCH, high / _INCH))
        figure.patch.set_alpha(0)
        draw(figure)
        for axes in figure.axes:
            axes.patch.set_alpha(0)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _inline(written.getvalue(), f"plot-{name}", title, alt)


def _inline(text: str, name: str, title: str, alt: str) -> str:
    """Without what only a file of its own needs, with ids of its own, the page's colours and font, and a title."""
    body = text[text.index("<svg") :]
    view = re.search(r'viewBox="([^"]*)"', body)
    assert view is not None
    body = body[body.index(">") + 1 :].strip().removesuffix("</svg>")
    for unwanted in (r"<!--.*?-->", r"<metadata>.*?</metadata>", r"<style\b.*?</style>"):
        body = re.sub(unwanted, "", body, flags=re.S)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'\b(?:xlink:)?href="#', f'href="#{name}-', body)
    body = body.replace("url(#", f"url(#{name}-")
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(colour, variable)
    body = re.sub(r">\s+<", "><", body)
    words = f'<title id="{name}-title">{escape(printable(title))}</title>'
    words += f'<desc id="{name}-words">{escape(printable(alt))}</desc>'
    labels = f'aria-labelledby="{name}-title" aria-describedby="{name}-words"'
    return f'<svg viewBox="{view[1]}" role="img" {labels} stroke-linejoin="round">{words}{body}</svg>'
