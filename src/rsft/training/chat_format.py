"""Accepted replies in OpenAI's format for fine-tuning chat models: JSON Lines, each a conversation that ends with the
reply (https://developers.openai.com/api/docs/guides/supervised-fine-tuning). Other hosts and trainers read it too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from rsft.training.base import Accepted
from rsft.types import Message

# Characters at which some readers end a line, though JSON Lines ends one only at \n; and halves of characters, which
# UTF-8 does not have. JSON has escapes for them.
_ESCAPED = re.compile("[\x85\u2028\u2029\ud800-\udfff]")


def chat_row(messages: Sequence[Message], reply: str) -> dict[str, Any]:
    """A conversation as the model read it, and the reply to learn."""
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return {"messages": [*turns, {"role": "assistant", "content": reply}]}


def chat_lines(rows: Iterable[Accepted]) -> str:
    """One line for each reply, in order. Any text comes back as it was when a line is read."""
    said = (chat_row(prompt.messages, candidate.text) for prompt, candidate in rows)
    return "".join(json_line(row) + "\n" for row in said)


def refused(rows: Sequence[Accepted]) -> list[str]:
    """Why the format can't hold some of these rows: one line for each of them, which names it."""
    found = []
    for prompt, candidate in rows:
        if not candidate.text.strip():
            found.append(f"the reply to '{prompt.id}' (sample {candidate.key.sample_index}) is empty")
        elif not prompt.messages:
            found.append(f"the conversation '{prompt.id}' has no turns")
        elif any(message.role == "tool" for message in prompt.messages):
            found.append(f"the conversation '{prompt.id}' has a tool's turn, and does not say which call it answers")
    return found


def json_line(row: Any) -> str:
    """JSON without the line's end. Any text comes back as it was, and no reader takes it for two lines."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(row, ensure_ascii=False))
