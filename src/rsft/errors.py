"""The errors that rsft raises on purpose.

    RsftError
    ├── UserError            what the user can fix: one message, exit code 2, no traceback
    │   ├── RecipeError      the recipe, or an override, says something that can't be
    │   ├── PromptError      a row of a prompt file is not a prompt
    │   ├── ModelError       no such model, or one that can't be used
    │   │   └── TemplateError    a chat template refuses a conversation
    │   ├── SelectionError   nothing was accepted, or a rule names a score that is not there
    │   ├── ScoringError     a scorer failed on more replies than it may
    │   ├── TrainingError    a training failed: its processes, or the host that was to do it
    │   ├── ServerError      a server can't be reached, refuses the key, or has cost what it may
    │   └── RunError         the run folder can't be used: in use, of another recipe, unreadable
    └── StoreError           the run folder contradicts itself (a segment's checksum, a count that does not add up)

Anything else that escapes is a bug and shows its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RsftError(Exception):
    """Base of every error that rsft raises on purpose."""


class UserError(RsftError):
    """A mistake that the user can fix. The message says what, where, what is allowed, and what to do."""


class RecipeError(UserError):
    """The recipe, or an override of it, says something that can't be."""


class PromptError(UserError):
    """A row of a prompt file is not a prompt."""


class ModelError(UserError):
    """A model reference leads nowhere, or to a model that can't be used."""


class TemplateError(ModelError):
    """A model's chat template refuses a conversation."""


class SelectionError(UserError):
    """Nothing was accepted, or a rule names a score that is not there."""


class ScoringError(UserError):
    """A scorer failed on more replies than it may."""


class TrainingError(UserError):
    """A training failed: the processes that were to do it together, or the host that was to do it."""


class ServerError(UserError):
    """A server can't be reached, refuses the key, serves no such model, or has cost what it may."""


class RunError(UserError):
    """A run folder can't be used as asked."""


class StoreError(RsftError):
    """A run folder contradicts itself."""


def nearest(word: str, choices: Iterable[str]) -> str:
    """' Did you mean X?' for the choice nearest to `word`, or an empty string."""
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f" Did you mean '{near[0]}'?" if near else ""
