"""What scorers with a model of their own have in common."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field, PrivateAttr

from rsft.config.section import OneOrMore
from rsft.errors import ModelError, UserError
from rsft.models.devices import free_device, scoring_dtype, show_no_loading
from rsft.models.references import ModelFolder, available, resolve
from rsft.registry import fingerprint_of
from rsft.scorers.base import Scorer
from rsft.scorers.run import reason_of

# Files of other kinds are never read, or say nothing of what the model does.
_KINDS = (".safetensors", ".json", ".jinja", ".txt", ".model", ".py")


class ModelScorer(Scorer):
    """A scorer that asks a model, which is loaded at its first use and stays in memory.

    A subclass says how it is loaded (`load`) and asks `self.loaded`. Its fingerprint holds the content of the model's
    files, not where they lie.
    """

    not_what_is_asked: ClassVar[frozenset[str]] = frozenset({"model", "device"})
    """Options that say where a model is: they make no other scorer of it."""

    not_sent: ClassVar[frozenset[str]] = frozenset({"_lock", "_loaded"})

    model: OneOrMore = Field(description="Hub name, folder or package:NAME. Of several, the first that is there.")
    device: str | None = Field(None, description="cpu, cuda, cuda:1, ...; by default the GPU with most free memory.")
    trust_remote_code: bool = Field(False, description="Let the model bring code of its own.")

    _lock: Any = PrivateAttr(default_factory=threading.RLock)
    _loaded: Any = PrivateAttr(default=None)

    def load(self, folder: ModelFolder, device: str) -> Any:
        """The model in memory, on the device. Raises ModelError for one that can't serve; whatever else it raises comes
        to the same."""
        raise NotImplementedError

    def precision(self, device: str) -> Any:
        """The dtype that its model works in on this device."""
        return scoring_dtype(device)

    @property
    def loaded(self) -> Any:
        """What `load` gave. Raises ModelError."""
        with self._lock:
            if self._loaded is None:
                self._loaded = in_memory(self.model, self.device, self.load)
            return self._loaded

    def prepare(self) -> None:
        _ = self.loaded

    @property
    def is_missing(self) -> bool:
        """Whether its model must still be had, judged without loading anything."""
        return available(self.model) is None

    @cached_property
    def fingerprint(self) -> str:
        options = self.model_dump(mode="json", fallback=str, exclude=set(self.not_what_is_asked))
        precision = str(self.precision(self.device or free_device()))
        return fingerprint_of(type(self), [options, precision, content(resolve(self.model).path)], self.version)


def in_memory(model: Sequence[str], device: str | None, load: Callable[[ModelFolder, str], Any]) -> Any:
    """What `load` gives for a model's folder and the device. Raises ModelError, whatever goes wrong."""
    folder, device = resolve(model), device or free_device()
    show_no_loading()
    try:
        return load(folder, device)
    except UserError:
        raise
    except Exception as error:  # as many kinds as there are broken folders and absent devices
        raise ModelError(f"The model '{folder.reference}' can't be loaded on {device}: {reason_of(error)}") from error


@cache
def content(folder: Path) -> str:
    """A hash of all that makes a model: weights, tokenizer, chat template, pooling, code."""
    whole = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.suffix in _KINDS):
        whole.update(str(file.relative_to(folder)).encode())
        with file.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()[:16]
