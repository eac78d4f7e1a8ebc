"""Whether prompts to train on and held-out prompts are different ones."""

from __future__ import annotations

from collections.abc import Sequence

from rsft.errors import PromptError
from rsft.prompts.rows import quoted
from rsft.types import Prompt


def check_disjoint(train: Sequence[Prompt], heldout: Sequence[Prompt]) -> None:
    """Raise PromptError if an id occurs in both: a policy is never measured on what it was trained on."""
    ids = {prompt.id for prompt in train}
    shared = [prompt.id for prompt in heldout if prompt.id in ids]
    if shared:
        raise PromptError(
            f"{len(shared)} of {len(heldout)} held-out prompts are also prompts to train on: {quoted(shared, most=5)}. "
            "Take them out of one of the two, or give different prompts different ids."
        )


def shared_conversations(train: Sequence[Prompt], heldout: Sequence[Prompt]) -> list[tuple[str, str]]:
    """(train id, held-out id) for each held-out prompt whose conversation is to be trained on as well.

    Conversations before the template are compared, roles included, regardless of case and white space. A held-out
    prompt is paired with the first such prompt only, so the list's length counts held-out prompts.
    """
    first: dict[tuple[tuple[str, str], ...], str] = {}
    for prompt in train:
        first.setdefault(_folded(prompt), prompt.id)
    return [(first[folded], prompt.id) for prompt in heldout if (folded := _folded(prompt)) in first]


def _folded(prompt: Prompt) -> tuple[tuple[str, str], ...]:
    return tuple((turn.role, " ".join(turn.content.split()).casefold()) for turn in prompt.conversation)
