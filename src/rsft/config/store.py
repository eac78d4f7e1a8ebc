"""What a recipe may say of where a run's segments lie. Keys are none of it: the storage's own library finds these in
its environment variables."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from rsft.config.mistakes import SECRET
from rsft.config.section import Section


class StoreSection(Section):
    """Where candidates, scores and decisions are kept. The ledger and everything else stay in the run folder."""

    segments: str | None = Field(
        None,
        description="A URL of shared storage for them: s3://bucket/prefix, file:///shared/runs, or another that fsspec "
        "knows; each run has a folder of its own there. The run folder by default.",
    )

    @field_validator("segments")
    @classmethod
    def _is_a_url_without_secrets(cls, said: str | None) -> str | None:
        if said is None:
            return None
        if not re.fullmatch(r"[a-z][a-z0-9+.-]*://\S+", said) or "::" in said:
            raise ValueError(f"'{said}' is no URL such as s3://bucket/prefix or file:///shared/runs")
        parts = urlsplit(said)
        if parts.password is not None or parts.query or parts.fragment:
            raise PydanticCustomError(
                SECRET,
                "a URL of a store has no password, no ? and no #: what opens the store is read from environment "
                "variables, by the storage's own library",
            )
        if parts.scheme == "file" and (parts.netloc or ".." in parts.path.split("/")):
            raise ValueError(f"'{said}' is no absolute path: write file:///shared/runs")
        return said.rstrip("/")
