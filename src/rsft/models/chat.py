"""How a conversation becomes tokens, so that nobody's text can forge a turn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from rsft.errors import ModelError, TemplateError
from rsft.types import Message

# Marks, inside a message, the places where tokenisation must not look across. A private-use character: it is taken out
# of what users wrote before it serves here.
_CUT = "\ue0f5"


class ChatTokenizer:
    """A tokenizer with its chat template.

    A text that spells one of the tokenizer's control tokens is cut behind that spelling's first character and encoded
    in parts, so that it becomes ordinary tokens that read the same. Text without such a spelling is encoded in one
    piece, exactly as the template's author meant it.
    """

    def __init__(self, tokenizer: Any) -> None:
        if tokenizer.chat_template is None:
            raise ModelError(
                f"The model '{tokenizer.name_or_path}' has no chat template, so it is a base model. "
                "Choose its instruction-tuned sibling, or save a chat_template.jinja beside it."
            )
        self.tokenizer = tokenizer
        control = {*tokenizer.all_special_tokens, *tokenizer.get_added_vocab()}
        spellings = sorted((token for token in control if len(token) > 1 and token.strip()), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, spellings)) or r"(?!)")

    @classmethod
    def load(cls, folder: Path, *, trust_remote_code: bool = False) -> ChatTokenizer:
        return cls(load_tokenizer(folder, trust_remote_code=trust_remote_code))

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """The token ids of the conversation, up to where the assistant's reply begins."""
        return self._ids(messages, add_generation_prompt=True)

    def whole_ids(self, messages: Sequence[Message]) -> list[int]:
        """The token ids of a conversation that has come to its end, with the reply as its last turn."""
        return self._ids(messages, add_generation_prompt=False)

    def reply_ids(self, text: str) -> list[int]:
        """The token ids of a reply that is given as text, with the end-of-turn token behind it."""
        return [*self._pieces(self._defuse(text)), self.end_of_turn]

    def decode(self, token_ids: Sequence[int]) -> str:
        """The reply's text: control tokens inside it are shown, the end-of-turn token at its end is not."""
        ids = list(token_ids)
        if ids and ids[-1] in self.stop_ids:
            ids = ids[:-1]
        text: str = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def reader(self) -> Reader:
        """What reads one reply as its tokens come."""
        return Reader(self)

    @cached_property
    def end_of_turn(self) -> int:
        """The token that ends an assistant's turn: the first control token that the template puts behind a reply."""
        turns = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "rsft-reply"}]
        text: str = self.tokenizer.apply_chat_template(turns, tokenize=False)
        ids = self.tokenizer.encode(text.rpartition("rsft-reply")[2], add_special_tokens=False)
        control = {*self.tokenizer.all_special_ids, *self.tokenizer.get_added_vocab().values()}
        found = next((token for token in ids if token in control), self.tokenizer.eos_token_id)
        if found is None:
            raise ModelError(f"The model '{self.tokenizer.name_or_path}' has neither an end-of-turn nor an eos token.")
        return int(found)

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end a reply."""
        return frozenset({self.end_of_turn, self.tokenizer.eos_token_id} - {None})

    def _ids(self, messages: Sequence[Message], *, add_generation_prompt: bool) -> list[int]:
        turns = [{"role": message.role, "content": self._defuse(message.content)} for message in messages]
        try:
            text: str = self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except Exception as error:
            roles = " ".join(message.role for message in messages)
            raise TemplateError(
                f"The model's chat template refuses a conversation with the roles {roles}: {error}"
            ) from error
        return self._pieces(text)

    def _pieces(self, text: str) -> list[int]:
        return [token for piece in text.split(_CUT) for token in self.tokenizer.encode(piece, add_special_tokens=False)]

    def _defuse(self, text: str) -> str:
        text = text.replace(_CUT, "\ufffd")
        parts: list[str] = []
        start = 0
        while found := self._control.search(text, start):
            parts.append(text[start : found.start() + 1])
            start = found.start() + 1
        return _CUT.join([*parts, text[start:]])


def shorter_and_shorter(turns: Sequence[Message]) -> Iterator[tuple[Message, ...]]:
    """The conversation, then without its oldest turns. What is left begins with a user's turn, behind a system's."""
    system = tuple(turns[:1]) if turns[0].role == "system" else ()
    later = [number for number, turn in enumerate(turns) if turn.role == "user" and number > len(system)]
    for first in (len(system), *later):
        yield (*system, *turns[first:])


def load_tokenizer(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """Raises ModelError where the folder has none: transformers would make one up, without a vocabulary."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
    check_tokenizer(tokenizer, folder)
    return tokenizer


def check_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Raises ModelError for a tokenizer that was made up."""
    files = getattr(tokenizer, "vocab_files_names", {}).values()
    if files and not any((folder / file).is_file() for file in files):
        raise ModelError(f"The model folder {folder} holds no tokenizer: none of the files {', '.join(sorted(files))}.")


class Reader:
    """One reply's text while it grows, as far as further tokens can't change it."""

    def __init__(self, chat: ChatTokenizer) -> None:
        self._chat = chat
        self._backend = getattr(chat.tokenizer, "backend_tokenizer", None)
        self._stream: Any = None
        self._seen = 0
        self._text = ""

    def read(self, token_ids: Sequence[int]) -> str:
        """The text of the tokens so far, of which `token_ids` holds all, without a character that is not whole yet."""
        if self._backend is None:
            return self._chat.decode(token_ids).rstrip("\ufffd")
        if self._stream is None:
            from tokenizers.decoders import DecodeStream

            self._stream = DecodeStream(skip_special_tokens=False)
        try:
            for token in token_ids[self._seen :]:
                self._text += self._stream.step(self._backend, token) or ""
        except Exception:  # the library gives up on some sequences of stray bytes
            self._backend = None
            return self._text
        self._seen = len(token_ids)
        return self._text
