"""Conversations by a scripted engine: turns, histories, draws, stops, and what is said where nothing can be."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rsft.engines.base import Cancelled, Pace, Request, Sampling, Watch
from rsft.engines.scripted import Script, ScriptedEngine
from rsft.errors import ModelError, PromptError, RunError, UserError
from rsft.prompts import load_prompts
from rsft.prompts.framing import Framing
from rsft.talking import Conversation, Speaker, field_of, keep_as_prompt
from rsft.talking.conversation import Window
from rsft.types import Candidate, Ended, Message, Policy, SamplingParams

LAW = SamplingParams(temperature=0.7, max_tokens=200)
BASE, TAUGHT = Speaker("base"), Speaker("policy@1", Policy("taught"))
SCRIPT = Script(replies=[f"Well {n}: {{prompt}}" for n in range(50)], lessons=[f"Good {n}." for n in range(50)])


class Listening(ScriptedEngine):
    """Remembers what it was asked."""

    def __init__(self, script: Script = SCRIPT) -> None:
        super().__init__(script)
        self.asked: list[Request] = []

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        self.asked += requests
        return super().sample(policy, requests, watch, pace)


def talk(*speakers: Speaker, engine: ScriptedEngine | None = None, **said: object) -> Conversation:
    law = said.pop("law", LAW)
    return Conversation(engine or Listening(), speakers or (BASE, TAUGHT), law, **said)  # type: ignore[arg-type]


def heard(conversation: Conversation, text: str) -> dict[str, str]:
    """Each speaker's reply, put together from its pieces."""
    whole: dict[str, str] = {}
    for piece in conversation.say(text):
        whole[piece.speaker] = whole.get(piece.speaker, "") + piece.text
    return whole


def test_each_speaker_goes_on_from_its_own_replies() -> None:
    engine = Listening()
    conversation = talk(engine=engine)
    first = heard(conversation, "Hello")
    assert first["base"].startswith("Well")
    assert first["policy@1"].startswith("Good")
    assert first == {name: reply.text for name, reply in conversation.last.replies.items()}
    heard(conversation, "And now?")
    for asked, name in zip(engine.asked[2:], ("base", "policy@1"), strict=True):
        turns = [turn.content for turn in asked.prompt.messages]
        assert turns == ["Hello", first[name], "And now?"]


def test_replies_come_piece_by_piece() -> None:
    pieces = list(talk(BASE).say("Hello"))
    assert len(pieces) > 3
    assert "".join(piece.text for piece in pieces).endswith(": Hello")


def test_the_same_seed_gives_the_same_replies_and_another_draw_others() -> None:
    ours, same, other = talk(seed=3), talk(seed=3), talk(seed=4)
    for conversation in (ours, same, other):
        heard(conversation, "Hello")
    said = [conversation.last.replies["base"].text for conversation in (ours, same, other)]
    assert said[0] == said[1] != said[2]
    ours.retry().wait()
    assert ours.last.draw == 1
    assert len(ours.exchanges) == 1
    assert ours.last.replies["base"].text != said[0]
    assert [one.key.sample_index for one in ours.engine.asked] == [0, 0, 1, 1]  # type: ignore[attr-defined]


def test_a_greedy_reply_is_not_drawn_again() -> None:
    conversation = talk(law=SamplingParams(temperature=0))
    heard(conversation, "Hello")
    with pytest.raises(RunError, match="temperature 0"):
        conversation.retry()


def test_the_last_turn_can_be_taken_back() -> None:
    conversation = talk()
    heard(conversation, "One")
    heard(conversation, "Two")
    assert conversation.undo() == "Two"
    assert [one.said for one in conversation.exchanges] == ["One"]
    conversation.undo()
    with pytest.raises(RunError, match="Nothing was said"):
        conversation.undo()


class Pausing(ScriptedEngine):
    """Goes on behind the third token when it is let."""

    def __init__(self) -> None:
        super().__init__(SCRIPT)
        self.may = threading.Event()

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        assert watch is not None
        watcher = watch(requests[0])
        assert watcher is not None

        def paused(text: str, tokens: int) -> Ended | None:
            ended = watcher(text, tokens)
            return ended if tokens < 3 or not self.may.wait(60) else watcher(text, tokens)

        return super().sample(policy, requests, lambda _: paused, pace)


def test_a_reply_can_be_stopped_and_what_there_is_stays() -> None:
    engine = Pausing()
    conversation = talk(BASE, engine=engine)
    answering = conversation.say("Hello")
    assert [piece.text for _, piece in zip(range(3), answering, strict=False)] == ["W", "e", "l"]
    conversation.stop()
    engine.may.set()
    answering.wait()
    reply = conversation.last.replies["base"]
    assert (reply.how, reply.text) == ("stopped", "Wel")
    assert conversation.turns("base")[-1] == Message("assistant", "Wel")


class Waiting(ScriptedEngine):
    """Draws nothing until it is let."""

    def __init__(self) -> None:
        super().__init__(SCRIPT)
        self.may, self.begun = threading.Event(), threading.Event()

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        def draw(cancelled: Cancelled) -> Iterator[Candidate]:
            self.begun.set()
            assert self.may.wait(60)
            if requests[0].key in cancelled:
                yield Candidate(requests[0].key, "", (), "cancelled", None, None, "it was not wanted any more")
                return
            yield from super(Waiting, self).sample(policy, requests, watch, pace)

        return Sampling(draw)


def test_one_that_was_stopped_before_it_spoke_has_not_heard_the_turn() -> None:
    engine = Waiting()
    conversation = talk(engine=engine)
    answering = conversation.say("Hello")
    assert engine.begun.wait(60)
    with pytest.raises(RunError, match="still being written"):
        conversation.say("Too soon")
    conversation.stop()
    engine.may.set()
    answering.wait()
    assert {reply.how for reply in conversation.last.replies.values()} == {"stopped"}
    assert conversation.turns("policy@1") == ()


def test_the_recipe_s_template_and_system_message_are_around_the_last_turn_as_in_training() -> None:
    engine = Listening()
    framing = Framing("{{ messages[-1].content }} Use {{ facts | items_as_text }}.", "Be kind.")
    conversation = talk(BASE, engine=engine, framing=framing, fields={"facts": {"price": 12}})
    heard(conversation, "Hello")
    heard(conversation, "Bye")
    system, *turns = engine.asked[1].prompt.messages
    assert system == Message("system", "Be kind.")
    assert [turn.content for turn in turns][::2] == ["Hello", "Bye Use price: 12."]
    assert engine.asked[1].prompt.conversation[-1].content == "Bye"
    conversation.system = "Be rude."
    heard(conversation, "Well?")
    assert engine.asked[2].prompt.messages[0] == Message("system", "Be rude.")


def test_a_field_that_is_missing_is_named_with_what_to_do() -> None:
    conversation = talk(framing=Framing("{{ messages[-1].content }} {{ facts.price }}"))
    with pytest.raises(PromptError, match=r"'facts'.*facts=VALUE.*--plain"):
        conversation.say("Hello")
    assert conversation.exchanges == []
    conversation.fields["facts"] = {"price": 1}
    assert heard(conversation, "Hello")


def test_a_system_message_that_a_template_writes_is_not_said_twice() -> None:
    with pytest.raises(PromptError, match="writes the system message itself"):
        talk(framing=Framing({"system": "You are it."}), system="Be kind.")


def test_the_oldest_turns_are_left_out_of_what_does_not_fit() -> None:
    engine = Listening()
    window = Window(500, lambda turns: sum(len(turn.content) for turn in turns))
    conversation = talk(BASE, engine=engine, system="S", window=window, law=SamplingParams(max_tokens=100))
    for number in range(6):
        heard(conversation, f"{number}" * 80)
    asked, reply = engine.asked[-1], conversation.last.replies["base"]
    assert reply.left_out > 0
    assert len(asked.prompt.messages) == 1 + 2 * 6 - 1 - reply.left_out
    assert [turn.role for turn in asked.prompt.messages[:2]] == ["system", "user"]
    assert window.count(asked.prompt.messages) <= 400
    assert len(conversation.turns("base")) == 13, "they stay in the conversation"


class Breaking(ScriptedEngine):
    """Fails the speaker that was taught something."""

    error: BaseException = UserError("the server is away")

    def sample(
        self, policy: Policy, requests: Sequence[Request], watch: Watch | None = None, pace: Pace | None = None
    ) -> Sampling:
        if policy != self.base:
            raise self.error
        return super().sample(policy, requests, watch, pace)


def test_a_failure_leaves_the_conversation_as_it_was() -> None:
    conversation = talk(engine=Breaking(SCRIPT))
    answering = conversation.say("Hello")
    with pytest.raises(UserError, match="the server is away"):
        list(answering)
    assert conversation.exchanges == []
    assert not conversation.is_answering


def test_memory_that_runs_out_is_told_with_what_to_do() -> None:
    engine = Breaking(SCRIPT)
    engine.error = RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes")
    with pytest.raises(ModelError, match="End what else needs it"):
        talk(engine=engine).say("Hello").wait()
    engine.error = RuntimeError("a bug")
    with pytest.raises(RuntimeError, match="a bug"):
        talk(engine=engine).say("Hello").wait()


def test_a_prompt_that_is_kept_is_read_as_one(tmp_path: Path) -> None:
    file = tmp_path / "kept.jsonl"
    file.write_text('{"prompt": "an older one"}')  # whose line nobody ended
    conversation = talk(system="Be kind.", fields={"facts": {"price": 12}})
    first = heard(conversation, "Hello")
    for text in ("And\nnow?", "Bye ☂"):
        heard(conversation, text)
        keep_as_prompt(file, conversation.asked("policy@1"), conversation.fields)
    old, kept, longer = load_prompts([str(file)])
    assert old.messages[0].content == "an older one"
    assert [turn.content for turn in kept.messages] == ["Be kind.", "Hello", first["policy@1"], "And\nnow?"]
    assert kept.fields == {"facts": {"price": 12}}, "no reply is in it: it would be the reference"
    assert longer.messages[-1].content == "Bye ☂"
    with pytest.raises(PromptError, match=r"ends in \.jsonl"):
        keep_as_prompt(tmp_path / "kept.txt", conversation.asked("base"), {})
    with pytest.raises(PromptError, match="can't be kept"):
        keep_as_prompt(tmp_path / "no" / "kept.jsonl", conversation.asked("base"), {})


def test_a_field_is_json_or_a_text() -> None:
    assert field_of('facts={"price": 12}') == ("facts", {"price": 12})
    assert field_of("name=Ada = Lovelace") == ("name", "Ada = Lovelace")
    assert json.loads(json.dumps(field_of("n=3")[1])) == 3
    with pytest.raises(PromptError, match="NAME=VALUE"):
        field_of("facts")
