"""One question to a chat model, and its answer's text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rsft.servers.asking import Malformed, Server, post

if TYPE_CHECKING:
    from openai import AsyncOpenAI


async def answer(server: Server, messages: Sequence[Mapping[str, str]], **law: Any) -> str:
    """What the server's model answers to these turns (role, content). `law` goes into the request as it is
    (temperature, max_tokens, seed, response_format, ...). Raises what `Server.ask` does."""

    async def send(client: AsyncOpenAI) -> str:
        said = await post(client, "/chat/completions", {"model": server.endpoint.model, "messages": messages, **law})
        server.count(*tokens_of(said))
        choices = said.get("choices")
        if not isinstance(choices, list) or len(choices) != 1:
            raise Malformed(f"the answer has {_count(choices)}, not one")
        try:
            text = choices[0]["message"]["content"]
        except (KeyError, TypeError):
            raise Malformed("the answer's choice has no message") from None
        if not isinstance(text, str):
            raise Malformed(f"the answer's content is {type(text).__name__}, not a text")
        if not text.strip():
            raise Malformed("the answer is empty")
        return text

    about = sum(len(turn["content"]) for turn in messages) // 3 + int(law.get("max_tokens") or 0)
    return await server.ask(send, about)


def _count(choices: object) -> str:
    return f"{len(choices)} choices" if isinstance(choices, list) else "no choices"


def tokens_of(said: Mapping[str, Any]) -> tuple[int, int]:
    """How many tokens an answer says were read and written; 0 where it says nothing."""
    usage = said.get("usage")
    found = usage if isinstance(usage, Mapping) else {}
    read, written = found.get("prompt_tokens"), found.get("completion_tokens")
    return _whole(read), _whole(written)


def _whole(number: object) -> int:
    return max(0, number) if isinstance(number, int) else 0
