"""What scorers with a model of their own have in common."""

from __future__ import annotations

import hashlib
import threading
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pydantic import Field, PrivateAttr

from rsft.config.recipe import OneOrMore
from rsft.models.devices import free_device
from rsft.models.references import ModelFolder, content_hash, resolve
from rsft.scorers.base import Scorer, fingerprint_of


class ModelScorer(Scorer):
    """A scorer that asks a model, which is loaded at its first use and stays in memory.

    A subclass says how it is loaded (`load`) and asks `self.loaded`. Its fingerprint holds the content of the model's
    files, not where they lie.
    """

    model: OneOrMore = Field(description="Hub name, folder or package:NAME. Of several, the first that is there.")
    device: str | None = Field(None, description="cpu, cuda, cuda:1, ...; by default the GPU with most free memory.")
    trust_remote_code: bool = Field(False, description="Let the model bring code of its own.")

    _lock: Any = PrivateAttr(default_factory=threading.RLock)
    _loaded: Any = PrivateAttr(default=None)

    def load(self, folder: ModelFolder, device: str) -> Any:
        """The model in memory, on the device. Raises ModelError for one that can't serve."""
        raise NotImplementedError

    @property
    def loaded(self) -> Any:
        """What `load` gave."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self.load(resolve(self.model), self.device or free_device())
            return self._loaded

    def prepare(self) -> None:
        _ = self.loaded

    @cached_property
    def fingerprint(self) -> str:
        options = self.model_dump(mode="json", fallback=str, exclude={"model", "device"})
        return fingerprint_of(type(self), [options, _content(resolve(self.model).path)], self.version)


@cache
def _content(folder: Path) -> str:
    """A hash of the weights, and of the small files beside them: tokenizer, chat template, pooling."""
    whole = hashlib.sha256(content_hash(folder).encode())
    for file in sorted(file for file in folder.rglob("*") if file.suffix in (".json", ".jinja", ".txt", ".model")):
        whole.update(str(file.relative_to(folder)).encode())
        whole.update(file.read_bytes())
    return whole.hexdigest()[:16]
