"""Accepted replies as rows in the formats that trainers read. Every text stays the text that it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from rsft.exporting.decided import Answered, Told
from rsft.training.chat_format import chat_row, refused
from rsft.types import Candidate, Message, Prompt

Row = dict[str, Any]
Turns = Literal["model", "user"]

# What ShareGPT's readers call those who speak.
_SPEAKERS = {"system": "system", "user": "human", "assistant": "gpt", "tool": "observation"}


def rows_of(answered: Iterable[Answered], kind: str, turns: Turns, name: str, *, plain: bool) -> Iterator[Row]:
    """A row for each accepted reply. Beside the format's own columns stand, unless `plain`, where it comes from: the
    prompt, the candidate's key, the set of decisions (`name`) that accepted it, and every score.

    OpenAI's format has no other columns, and what it can't hold is left out: see `refused`.
    """
    shape = SHAPES[kind]
    for one in answered:
        conversation = conversation_of(one.prompt, turns)
        for told in one.replies:
            if not told.accepted or (kind == "openai" and _refused(one.prompt, conversation, told)):
                continue
            row = shape(conversation, told.text)
            yield row if plain or kind == "openai" else row | {**origin(told), "selection": name, "scores": told.scores}


def conversation_of(prompt: Prompt, turns: Turns) -> Sequence[Message]:
    """The conversation that awaits the reply: as the model read it, or as the user had it."""
    return prompt.messages if turns == "model" else prompt.conversation


def said_turns(messages: Sequence[Message]) -> list[Row]:
    return [{"role": message.role, "content": message.content} for message in messages]


def reply_turn(text: str) -> list[Row]:
    return [{"role": "assistant", "content": text}]


def origin(told: Told) -> Row:
    """What finds the candidate again in the run."""
    key = told.key
    return {
        "prompt_id": key.prompt_id,
        "iteration": key.iteration,
        "sample_index": key.sample_index,
        "generator": key.generator,
    }


def _sharegpt(messages: Sequence[Message], reply: str) -> Row:
    spoken = [{"from": _SPEAKERS[message.role], "value": message.content} for message in messages]
    return {"conversations": [*spoken, {"from": "gpt", "value": reply}]}


def _prompt_completion(messages: Sequence[Message], reply: str) -> Row:
    return {"prompt": said_turns(messages), "completion": reply_turn(reply)}


def _refused(prompt: Prompt, conversation: Sequence[Message], told: Told) -> bool:
    shown = Prompt(prompt.id, tuple(conversation), tuple(conversation))
    return bool(refused([(shown, Candidate(told.key, told.text, (), "stop", None, None))]))


SHAPES: dict[str, Callable[[Sequence[Message], str], Row]] = {
    "messages": chat_row,
    "prompt-completion": _prompt_completion,
    "sharegpt": _sharegpt,
    "openai": chat_row,
}
