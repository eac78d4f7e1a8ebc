"""Scorers whose model is here, or behind a server."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

from pydantic import Field, model_validator

from rsft.config.section import OneOrMore
from rsft.errors import ModelError
from rsft.registry import fingerprint_of
from rsft.scorers.model import ModelScorer
from rsft.servers import Endpoint, Server
from rsft.types import Message, Prompt, Reply

_HELLO = (Message("user", "Hello."),)
_OF_MODELS_HERE = ("model", "device", "trust_remote_code")


class ServedModelScorer(ModelScorer):
    """A scorer that asks a model on this machine (`model`), or one that a server has (`server`).

    A server is known by its model's name: what stands behind it is the server's business, and another address or
    another limit makes no other scorer.
    """

    not_what_is_asked: ClassVar[frozenset[str]] = ModelScorer.not_what_is_asked | {"server"}

    model: OneOrMore = Field([], description=ModelScorer.model_fields["model"].description)
    server: Endpoint | None = Field(
        None, description="Instead of a model here, one behind a server: its url, model, key_env, ..."
    )

    @model_validator(mode="after")
    def _has_one_model(self) -> ServedModelScorer:
        if self.server is None:
            if not self.model:
                raise ValueError("name a model, or the server that has one: {url: ..., model: ...}")
        elif given := [option for option in _OF_MODELS_HERE if option in self.model_fields_set]:
            raise ValueError(f"{' and '.join(given)} can't stand beside a server, which has the model")
        return self

    @property
    def is_missing(self) -> bool:
        return self.server is None and super().is_missing

    @cached_property
    def asked(self) -> Server:
        """The server. Raises ServerError where the variable with its key is not set."""
        assert self.server is not None
        return Server(self.server)

    def prepare(self) -> None:
        """Load the model; or ask the server once, so that what can't work is known before a run."""
        if self.server is None:
            super().prepare()
            return
        hello = Prompt("hello", _HELLO, _HELLO, dict.fromkeys(getattr(self, "fields", ()), "Hello."))
        (said,) = self.score([Reply(hello, "Hello.")])
        failure = getattr(said, "failure", None)
        if failure is not None:
            raise ModelError(f"The model '{self.server.model}' at {self.server.url} can't score: {failure}")

    @cached_property
    def fingerprint(self) -> str:
        if self.server is None:
            return super().fingerprint
        options = self.model_dump(mode="json", fallback=str, exclude={"server", *_OF_MODELS_HERE})
        return fingerprint_of(type(self), [options, "served", self.server.model], self.version)
