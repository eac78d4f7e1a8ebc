"""The model that a run trains, of which no more is loaded than somebody asks for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rsft.errors import ModelError
from rsft.models.references import ModelFolder, content_hash, resolve
from rsft.types import Policy

if TYPE_CHECKING:
    from rsft.models.chat import ChatTokenizer
    from rsft.models.network import Network


@dataclass(frozen=True)
class Student:
    """The base model by its references. Raises ModelError, at the first use, where none of them is there.

    `lora_rank` is that of the adapters that are trained over it, if it is adapters.
    """

    references: Sequence[str]
    dtype: str = "auto"
    trust_remote_code: bool = False
    lora_rank: int | None = None

    @cached_property
    def is_here(self) -> bool:
        """Whether it can be had at all, as files: some models only their hosts have."""
        try:
            return self.folder is not None
        except ModelError:
            return False

    @cached_property
    def folder(self) -> ModelFolder:
        """Where it lies."""
        return resolve(self.references)

    @cached_property
    def base(self) -> Policy:
        """The policy that nothing was trained into yet."""
        return Policy(hash=content_hash(self.folder.path))

    @cached_property
    def chat(self) -> ChatTokenizer:
        """Its tokenizer, without its weights."""
        from rsft.models.chat import ChatTokenizer

        return ChatTokenizer.load(self.folder.path, trust_remote_code=self.trust_remote_code)

    def reads_like(self, other: Student) -> bool:
        """Whether token ids mean the same to both."""
        ours, theirs = self.chat, other.chat
        same = ours.tokenizer.get_vocab() == theirs.tokenizer.get_vocab()
        return same and ours.end_of_turn == theirs.end_of_turn

    @cached_property
    def context_length(self) -> int:
        """How many tokens it can read, prompt and reply together."""
        config = json.loads((self.folder.path / "config.json").read_text(encoding="utf-8"))
        return int(config.get("max_position_embeddings") or 1 << 30)

    @cached_property
    def network(self) -> Network:
        """It, in memory."""
        from rsft.models.network import Network

        return Network.load(self.folder, dtype=self.dtype, trust_remote_code=self.trust_remote_code)
