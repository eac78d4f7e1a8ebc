"""A scorer of one's own: name it in a recipe as `examples/custom_scorer.py:greets_by_name`.

A scorer gets a batch of replies and says one thing of each: a number, True or False, a `Score` with an explanation, or
None where it can't tell. What it can't tell is a failed score, and a failed score is never accepted.
"""

from collections.abc import Sequence

from rsft import Reply, Score


def greets_by_name(replies: Sequence[Reply], field: str = "name") -> list[Score | None]:
    """1 if the reply says the customer's name, which the prompt's row holds."""
    return [score(reply, field) for reply in replies]


def score(reply: Reply, field: str) -> Score | None:
    name = reply.prompt.fields.get(field)
    if name is None:
        return None
    said = name.casefold() in reply.text.casefold()
    return Score(float(said), f"{'says' if said else 'does not say'} {name!r}")
