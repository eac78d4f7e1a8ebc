"""Opening a conversation with models of a run: from names to an engine that answers."""

from __future__ import annotations

import gc
import math
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rsft.config import Recipe
from rsft.engines.base import Engine
from rsft.errors import ModelError, ServerError
from rsft.models.shapes import weight_shapes
from rsft.models.student import Student
from rsft.participants import LOGS, open_engine, student_of
from rsft.prompts.framing import Framing
from rsft.saved import saved_recipe
from rsft.talking.conversation import Conversation, Window
from rsft.talking.judging import Judging
from rsft.talking.room import refuse_too_large, too_little_memory
from rsft.talking.speakers import BEST, Speaker, offered

# A run waits ten minutes for a server that is away; who talks to it wants to know at once.
_PATIENCE_SECONDS, _ATTEMPTS = 10, 2
_CONNECT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to talk to, and how. What is None is the recipe's.

    `plain` leaves out what the recipe puts around a conversation (template, system message); `here` has this process
    answer, whatever engine the recipe names.
    """

    speakers: Sequence[str] = (BEST,)
    seed: int = 0
    system: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    plain: bool = False
    here: bool = False
    temperature: float | None = None
    max_tokens: int | None = None


@dataclass(slots=True)
class Talk:
    """An open conversation, with who judges its replies. To be closed."""

    run: Path
    engine: Engine
    conversation: Conversation
    judging: Judging

    def close(self) -> None:
        """End it, and give the memory back."""
        self.conversation.stop()
        self.engine.close()
        _forget(self.engine)


def open_talk(run: Path, wish: Wish) -> Talk:
    """Load what is wanted; each speaker is named once, however often it is wished for.

    Raises a UserError where somebody is not there, where the memory does not do, or where the server is not up.
    """
    recipe = saved_recipe(run)
    speakers = _speakers(run, recipe, wish)
    framing = Framing() if wish.plain else Framing(recipe.prompts.template, recipe.prompts.system)
    law = recipe.sampling.law(wish.temperature)
    if wish.max_tokens is not None:
        law = replace(law, max_tokens=wish.max_tokens)
    student = student_of(recipe)
    spec = _spec(recipe, here=wish.here)
    _refuse_no_server(spec)
    try:
        if spec["type"] == "local":
            _refuse_no_room(student)
        engine = open_engine(spec, student, run / LOGS / "chat")
    except (MemoryError, RuntimeError) as error:
        raise too_little_memory(error) or error from None
    try:
        conversation = Conversation(
            engine,
            speakers,
            law,
            framing,
            seed=wish.seed,
            system=wish.system,
            fields=wish.fields,
            window=Window(student.context_length, lambda turns: len(student.chat.prompt_ids(turns)))
            if student.is_here
            else None,
        )
        return Talk(run, engine, conversation, Judging(run, recipe, engine))
    except BaseException:
        engine.close()
        raise


def _speakers(run: Path, recipe: Recipe, wish: Wish) -> list[Speaker]:
    offer = offered(run, recipe)
    found = {one.speaker.name: one for one in map(offer.find, wish.speakers or (BEST,))}
    for one in found.values():
        if one.missing:
            raise ModelError(
                f"{one.title.capitalize()} can't speak: {one.missing}. A run that takes over from this one (rsft run "
                "--fork) trains it again."
            )
    return [one.speaker for one in found.values()]


def _spec(recipe: Recipe, *, here: bool) -> dict[str, Any]:
    """The engine's options, as they suit a conversation: replies piece by piece, and no long wait for a server."""
    said: dict[str, Any] = {"type": recipe.engine} if isinstance(recipe.engine, str) else dict(recipe.engine)
    if here and said["type"] != "local":
        return {"type": "local"}
    if said["type"] in ("openai", "vllm"):
        said |= {"stream": True, "attempts": min(said.get("attempts", _ATTEMPTS), _ATTEMPTS)}
        if said["type"] == "openai" or said.get("url"):
            said["patience_seconds"] = min(said.get("patience_seconds", _PATIENCE_SECONDS), _PATIENCE_SECONDS)
    return said


def _refuse_no_server(spec: Mapping[str, Any]) -> None:
    """Raise ServerError where a server on this machine is not up."""
    parts = urlsplit(str(spec.get("url") or ""))
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        return
    try:
        socket.create_connection((parts.hostname, parts.port or 80), _CONNECT_SECONDS).close()
    except OSError:
        raise ServerError(
            f"Nobody listens at {spec['url']}, the recipe's engine. Start that server; or have this process answer, "
            "with the weights that are in the run folder (--here)."
        ) from None


def _refuse_no_room(student: Student) -> None:
    import torch

    from rsft.models.devices import free_memory, quick_dtype

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = quick_dtype(device) if student.dtype == "auto" else getattr(torch, student.dtype)
    weights = sum(math.prod(shape) for shape in weight_shapes(str(student.folder.path)).values())
    where = "the GPU" if device == "cuda" else "this machine"
    refuse_too_large(weights * dtype.itemsize, free_memory(torch.device(device)), where)


def _forget(engine: Engine) -> None:
    """Have the memory of a model that nobody holds any more given back."""
    if hasattr(engine, "network"):
        engine.network.module = None
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
