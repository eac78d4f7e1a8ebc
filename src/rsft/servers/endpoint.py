"""What a recipe says of a server."""

from __future__ import annotations

import os
import re
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from rsft.config.mistakes import SECRET
from rsft.config.section import Section
from rsft.errors import ServerError

OPENAI = "https://api.openai.com/v1"
_PRINTABLE = re.compile(r"[!-~]+")


class Price(Section):
    """What a server asks for, in any currency, for a million tokens."""

    input: float = Field(ge=0, description="A million tokens read.")
    output: float = Field(ge=0, description="A million tokens written.")

    def of(self, read: int, written: int) -> float:
        """The cost of so many tokens."""
        return (read * self.input + written * self.output) / 1e6


class Endpoint(Section):
    """A server that speaks OpenAI's protocol, and how it may be used."""

    model_config = ConfigDict(hide_input_in_errors=True)  # it may be a key that somebody wrote here

    url: str = Field(OPENAI, description="Where its API begins, e.g. http://127.0.0.1:8000/v1.")
    model: str = Field(min_length=1, description="The model's name there.")
    key_env: str | None = Field(
        None, description="The environment variable that holds the key; OPENAI_API_KEY for OpenAI itself, else none."
    )
    timeout_seconds: float = Field(300, gt=0, description="How long one request may take.")
    patience_seconds: float = Field(600, ge=0, description="How long the server may be away, or its rates used up.")
    attempts: int = Field(6, ge=1, description="How often a request is tried before its replies have failed.")
    concurrency: int | None = Field(None, ge=1, description="Requests at a time; found out when it is left out.")
    requests_per_minute: float | None = Field(None, gt=0, description="At most; no bound when it is left out.")
    tokens_per_minute: float | None = Field(None, gt=0, description="At most, read and written.")
    price: Price | None = Field(None, description="For the cost that is shown, and for max_cost.")
    max_cost: float | None = Field(None, gt=0, description="The run stops when it has cost so much, resumed or not.")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        if any(mark in url for mark in "@?#"):
            raise PydanticCustomError(
                SECRET, "holds a password, or more than an address: name an environment variable in key_env instead"
            )
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("needs an address such as http://127.0.0.1:8000/v1")
        return url.rstrip("/")

    @field_validator("key_env")
    @classmethod
    def _is_a_variable(cls, name: str | None) -> str | None:
        if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise PydanticCustomError(SECRET, "names an environment variable, such as OPENAI_API_KEY; it is no key")
        return name

    @model_validator(mode="after")
    def _a_cap_needs_prices(self) -> Endpoint:
        if self.max_cost is not None and self.price is None:
            raise ValueError("max_cost needs a price: {input: ..., output: ...}, for a million tokens each")
        return self

    @property
    def key_variable(self) -> str | None:
        """The environment variable that holds the key, if one is needed."""
        return self.key_env or ("OPENAI_API_KEY" if self.url == OPENAI else None)

    def beside(self, path: str) -> str:
        """The address of what a server answers outside of OpenAI's API, as vLLM does /version and /classify."""
        return self.url.removesuffix("/v1") + path

    @property
    def is_here(self) -> bool:
        """Whether it is on this machine."""
        return urlsplit(self.url).hostname in ("127.0.0.1", "localhost", "::1")

    def key(self) -> str | None:
        """The key itself. Raises ServerError where the variable is not set; the message never holds a key."""
        if self.key_variable is None:
            return None
        if not (key := os.environ.get(self.key_variable, "").strip()):
            raise ServerError(
                f"The server {self.url} needs a key, and the environment variable {self.key_variable} is not set. "
                f"Set it (export {self.key_variable}=...), or name another in key_env. Keys never stand in a recipe."
            )
        if not _PRINTABLE.fullmatch(key):  # HTTP can't carry it, and says so by showing it
            raise ServerError(
                f"The environment variable {self.key_variable} holds no key: there are spaces, line breaks or letters "
                "beyond ASCII in it. Set it to the key alone."
            )
        return key
