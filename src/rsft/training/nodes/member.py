"""A node of a training, as the driver asks it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rsft.errors import RsftError, TrainingError


class Lost(Exception):
    """A node or a process is gone. It says which, in a sentence; another try may go on."""


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """Its name, and the actor that works there (`Node`)."""

    ray: Any
    name: str
    actor: Any

    def ask(self, what: str, *words: Any) -> Any:
        """The answer to come."""
        return getattr(self.actor, what).remote(*words)

    def get(self, answer: Any) -> Any:
        """The answer that came. Raises Lost if the node is gone, and what rsft itself raised there with its name."""
        errors = self.ray.exceptions
        try:
            return self.ray.get(answer)
        except errors.RayTaskError as error:
            cause = error.cause
            if isinstance(cause, FileNotFoundError):
                raise cause from error
            if isinstance(cause, RsftError | OSError):
                raise TrainingError(f"On the node {self.name}: {cause}") from error
            raise
        except errors.RayError as error:
            if "No module named" in str(error):
                said = next(line for line in str(error).splitlines() if "No module named" in line)
                raise TrainingError(f"On the node {self.name} rsft can't be used: {said.strip()}") from error
            raise Lost(f"The node {self.name} is lost, or its actor was killed.") from error

    def stream(self, what: str, *words: Any) -> Iterator[Any]:
        """Answers of which a few are made ahead."""
        method = getattr(self.actor, what).options(num_returns="streaming", _generator_backpressure_num_objects=4)
        for answer in method.remote(*words):
            yield self.get(answer)
