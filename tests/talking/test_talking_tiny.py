"""Talking to a real model and what a run made of it: tiny, but with weights, a tokenizer and a trained adapter."""

from __future__ import annotations

import gc
import json
import weakref
from pathlib import Path

import pytest

import rsft
from command import Command
from questions import write_questions
from rsft.errors import ModelError, RunError
from rsft.loop import run
from rsft.reading import Filter, heldout_replies
from rsft.sampling import sample_replies
from rsft.saved import saved_recipe
from rsft.talking import Wish, offered, open_talk
from rsft.types import SamplingParams

RECIPE = """
run: runs/tiny
model: {model}
dtype: float32
prompts: {{train: train.jsonl, heldout: heldout.jsonl}}
sampling: {{candidates: 8, temperature: 0.9, max_tokens: 24}}
scorers: {{odd: mine.py:odd, told: {{type: states_facts}}}}
selection: [odd >= 1, {{cap: 2}}]
evaluation: {{scorers: {{alike: reference_overlap}}}}
training: {{lora: {{rank: 4}}, learning_rate: 1.0e-2, epochs: 2, batch_size: 4}}
scoring: {{max_failed: 1.0}}
loop: {{iterations: 1, control: random}}
"""
SCORER = '''
def odd(replies):
    """1 if the reply has an odd number of characters."""
    return [len(reply.text) % 2 for reply in replies]
'''


@pytest.fixture(scope="module")
def whole(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run with an adapter, and of what it was made from."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        Path("tiny.yaml").write_text(RECIPE.format(model=tiny_folder))
        Path("mine.py").write_text(SCORER)
        write_questions(train=4, heldout=2)
        run(rsft.load_recipe("tiny.yaml"))
        return Path.cwd()


@pytest.fixture
def folder(whole: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(whole)
    return Path("runs/tiny")


def test_greedy_replies_are_those_that_the_run_measured_and_the_policy_is_not_the_base(folder: Path) -> None:
    """Adapters are switched over one base, to and fro, and each speaks as it does alone."""
    measured = {
        iteration: {row["asked"]: row["reply"] for row in heldout_replies(folder, Filter(iteration=iteration))}
        for iteration in (0, 1)
    }
    talk = open_talk(folder, Wish(speakers=("policy@1", "base", "control@1"), temperature=0))
    try:
        for asked in measured[1]:
            talk.conversation.exchanges.clear()
            talk.conversation.say(asked).wait()
            said = {name: reply.text for name, reply in talk.conversation.last.replies.items()}
            assert said["policy@1"] == measured[1][asked]
            assert said["base"] == measured[0][asked]
            assert said["policy@1"] != said["base"]
    finally:
        talk.close()


def test_a_reply_is_what_rsft_sample_draws_of_the_same_words(folder: Path) -> None:
    talk = open_talk(folder, Wish(speakers=("1",), temperature=0, system="Be kind."))
    try:
        pieces = "".join(piece.text for piece in talk.conversation.say("Is it so?"))
    finally:
        talk.close()
    law = SamplingParams(temperature=0, max_tokens=24)
    drawn = sample_replies(
        str(folder),
        text="Is it so?",
        prompt_id=None,
        iteration=1,
        system="Be kind.",
        candidates=1,
        params=law,
        seed=0,
    )
    assert pieces == drawn["replies"][0]["text"]


def test_what_it_takes_is_said_before(folder: Path, tiny_folder: Path) -> None:
    said = offered(folder, saved_recipe(folder))
    assert [one.speaker.name for one in said.speakers] == ["base", "policy@1", "control@1"]
    assert said.bytes == (tiny_folder / "model.safetensors").stat().st_size
    assert said.memory is not None
    assert abs(said.memory - said.bytes) < 10_000, "fp32 in the file and in memory"
    assert all(one.bytes for one in said.speakers[1:])
    assert said.find("best").speaker.name == said.best
    with pytest.raises(RunError, match=r"nobody called 'policy@7'.*policy@1"):
        said.find("policy@7")


def test_there_is_no_room_is_said_before_it_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsft.models.devices.free_memory", lambda _: 1000)
    with pytest.raises(ModelError, match=r"need 0\.0 GB.*free.*End what else needs it"):
        open_talk(folder, Wish())


def test_closing_gives_the_memory_back(folder: Path) -> None:
    talk = open_talk(folder, Wish(speakers=("policy@1",)))
    talk.conversation.say("Hello").wait()
    weights = weakref.ref(talk.engine.network.module)  # type: ignore[attr-defined]
    talk.close()
    gc.collect()
    assert weights() is None


def test_scorers_judge_a_reply_and_say_what_they_miss(folder: Path) -> None:
    talk = open_talk(folder, Wish(speakers=("policy@1", "base")))
    try:
        talk.conversation.say("Hello").wait()
        for judged in talk.judging.judged(talk.conversation.last.replies):
            text = talk.conversation.last.replies[judged.speaker].text
            assert judged.scores["odd"].value == len(text) % 2
            assert judged.scores["told"].value is None
            assert "facts" in (judged.scores["told"].failure or "")
            assert judged.needs == ["facts", "reference"]
            whole = talk.conversation.last.replies[judged.speaker].how == "stop"
            assert judged.verdict == ("accepted" if whole and len(text) % 2 else "rejected")
    finally:
        talk.close()


def test_a_rule_that_reads_a_score_that_is_not_there_decides_nothing(folder: Path) -> None:
    talk = open_talk(folder, Wish(speakers=("base",), max_tokens=100))
    talk.judging.recipe = talk.judging.recipe.model_copy(update={"selection": ["told >= 1"]})
    try:
        for _ in range(20):
            (talk.conversation.retry() if talk.conversation.exchanges else talk.conversation.say("Hello")).wait()
            if talk.conversation.last.replies["base"].how == "stop":
                break
        (judged,) = talk.judging.judged(talk.conversation.last.replies)
        assert (judged.verdict, judged.rule) == ("undecided", "told >= 1")
    finally:
        talk.close()


def test_in_a_real_context_the_oldest_turns_make_way(folder: Path) -> None:
    talk = open_talk(folder, Wish(speakers=("base",)))
    try:
        for _ in range(4):
            talk.conversation.say("x" * 150).wait()
        assert talk.conversation.last.replies["base"].left_out > 0
        with pytest.raises(rsft.UserError, match="does not fit into"):
            talk.conversation.say("x" * 600).wait()
        assert len(talk.conversation.exchanges) == 4
    finally:
        talk.close()


def test_the_command_line_by_line(folder: Path, cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    lines = ["Hello", "/retry", "/score", "/keep kept.jsonl", "/undo", "//not a command", "/quit", "never said"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
    said = cli("chat", str(folder), "--policy", "1", "--beside", "base", "--beside", "0", "--json")
    assert said.code == 0, said.err
    told = [json.loads(line) for line in said.out.splitlines()]
    assert [one.get("speaker") for one in told[:4]] == ["policy@1", "base"] * 2
    assert [one["draw"] for one in told[:4]] == [0, 0, 1, 1]
    assert all(one["tokens"] for one in told[:4])
    assert {one["verdict"] for one in told[4:6]} <= {"accepted", "rejected"}
    assert told[6:8] == [{"kept": "kept.jsonl"}, {"undone": "Hello"}]
    assert [one["turn"] for one in told[8:]] == [1, 1]
    assert json.loads(Path("kept.jsonl").read_text()) == {"messages": [{"role": "user", "content": "Hello"}]}
    assert "in memory" in said.err
