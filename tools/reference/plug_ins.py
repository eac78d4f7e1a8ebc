"""The pages of scorers and of rules: all of them, as `rsft scorers` and `rsft rules` explain them."""

import inspect
from typing import Any

from pydantic import BaseModel
from tools.reference.markdown import anchor, bullet, code, fence, page, paragraphs, prose, table
from tools.reference.types import kind_of, models_in, shown_value

from rsft import registry
from rsft.appraisal import described, listed, rule_described, rules_listed
from rsft.servers import Endpoint

_SCORERS = """\
What scorers there are, and what can be said to each: the same as `rsft scorers` and `rsft scorers NAME` print. How good
those of a recipe are on your own data, `rsft scorers test RECIPE` measures.

What a scorer takes is what a score costs: a moment (a rule on the text), a while (code is run, a formula solved), a
model (loaded beside the policy, or asked of a server), a chat model (a judge), or other scores."""
_SERVER = "mapping: [a server](recipe.md#a-server)"
_RULES = """\
A selection is a list of rules. Each works on what the rules before it left, and each decision names the rule that made
it. The same as `rsft rules` and `rsft rules NAME` print; `rsft select RUN` says what other rules would change in a run.

What a rule looks at says when it can decide: on each reply by itself, by those before it, or once all are drawn."""


def scorers_page() -> str:
    """Every scorer with its options and an example."""
    rows = [(_link(one["name"]), f"{prose(one['says'])} *{one['takes'].capitalize()}.*") for one in listed()]
    blocks = ["# Scorers", _SCORERS, table(["scorer", "what it says, and what it takes"], rows)]
    for name in registry.SCORERS:
        said = described(name)
        blocks += [f"## {name}", f"*Takes {said['takes']}.*", *_plug_in(said, registry.load("scorer", name))]
    return page(*blocks)


def rules_page() -> str:
    """Every rule with its options and an example."""
    rows = [(_link(one["name"]), f"{prose(one['says'])} *{one['looks_at'].capitalize()}.*") for one in rules_listed()]
    blocks = ["# Rules", _RULES, table(["rule", "what it keeps, and what it looks at"], rows)]
    for name in registry.RULES:
        said = rule_described(name)
        blocks += [f"## {name}", f"*Looks at {said['looks_at']}.*", *_plug_in(said, registry.load("rule", name))]
    return page(*blocks)


def _link(name: str) -> str:
    return f"[{code(name)}](#{anchor(name)})"


def _plug_in(said: dict[str, Any], plug_in: type[BaseModel]) -> list[str]:
    names = {option["name"] for option in said["options"]}
    fields = {field.alias or key: field for key, field in plug_in.model_fields.items()}
    lines = []
    for name, field in fields.items():
        if name in names:
            models = list(models_in(field.annotation))
            kind = _SERVER if Endpoint in models else kind_of(field)
            lines.append(bullet(code(name), kind, field.description or ""))
            lines += _long(field.default)
            lines += [line for model in models if model is not Endpoint for line in _inside(model)]
    return [*map(prose, said["says"].split("\n\n")), "\n".join(lines), fence("yaml", said["example"])]


def _long(default: Any) -> list[str]:
    """A default of many words, below its option."""
    if not isinstance(default, str) or not default or shown_value(default):
        return []
    lines = fence("text", f"By default:\n{default}").splitlines()
    return ["", *(f"    {line}" for line in lines)]


def _inside(model: type[BaseModel]) -> list[str]:
    """What is said of a mapping, and its keys. A mapping within it is explained where it is met first."""
    told = [f"    {one}\n" for one in paragraphs(inspect.getdoc(model) or "")]
    keys, met = [], set[type[BaseModel]]()
    for name, field in model.model_fields.items():
        kind, meaning = kind_of(field), field.description or ""
        for within in models_in(field.annotation):
            kind = kind.replace("mapping", f"mapping of {' and '.join(map(code, within.model_fields))}")
            meaning = meaning or ("" if within in met else " ".join((inspect.getdoc(within) or "").split()))
            met.add(within)
        keys.append(f"    {bullet(code(name), kind, meaning)}")
    return ["", *told, *keys]
