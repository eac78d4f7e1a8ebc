"""rsft chat over runs by fakes: what is typed, what is told, and what a model writes to a terminal."""

from __future__ import annotations

import io
import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

import rsft
from command import Command
from questions import write_questions
from rsft.loop import run

RECIPE = """
run: runs/bot
model: none
engine: {type: scripted, replies: ["Well: {prompt}", "Bad: {prompt}"], lessons: ["Good: {prompt}"]}
prompts: {train: train.jsonl, heldout: heldout.jsonl}
sampling: {candidates: 2, max_tokens: 60}
scorers: {polite: {type: format, pattern: "Good.*"}}
selection: [polite >= 1]
training: {type: "null"}
guards: {plateau: off}
loop: {iterations: 1}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        Path("bot.yaml").write_text(RECIPE.replace("Bad: {prompt}", "Good, well: {prompt}"))
        write_questions(train=6, heldout=3)
        run(rsft.load_recipe("bot.yaml"))
        return Path.cwd()


@pytest.fixture
def bot(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Path("runs/bot")


@pytest.fixture
def piped(cli: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, with lines that are piped to it in front of its words."""

    def command(lines: str, *words: str) -> object:
        monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
        return cli("chat", *words)

    return command  # type: ignore[return-value]


def test_replies_are_printed_side_by_side(bot: Path, piped: Command) -> None:
    said = piped("Hello\n", str(bot), "--policy", "1", "--beside", "base")
    assert said.code == 0, said.err
    policy, base = said.out.splitlines()
    assert policy == "policy@1: Good: Hello"
    assert base.startswith("base: ")
    assert "Talking to policy@1, base" in said.err


def test_what_a_model_writes_does_nothing_to_a_terminal(bot: Path, piped: Command) -> None:
    file = bot / "recipe.yaml"
    recipe = yaml.safe_load(file.read_text())
    evil = "\x1b]0;owned\x07\x1b[2J[bold]no[/bold]\u202e\x9b2J"
    file.write_text(yaml.safe_dump(recipe | {"engine": {"type": "scripted", "replies": [evil]}}))
    said = piped("Hello\n", str(bot), "--policy", "base")
    assert "\x1b" not in said.out
    assert "\x07" not in said.out
    assert "\u202e" not in said.out
    assert "[bold]no[/bold]" in said.out
    as_json = piped("Hello\n", str(bot), "--policy", "base", "--json")
    assert as_json.out.isascii()
    assert "\x1b" not in as_json.out
    assert json.loads(as_json.out)["reply"] == evil


def test_commands(bot: Path, piped: Command) -> None:
    lines = '/system Be kind.\n/field facts={"a": 1}\n/field facts=\nHello\n/score\n/undo\n/help\n'
    said = piped(lines, str(bot), "--policy", "1")
    assert said.code == 0, said.err
    assert "(system: Be kind.)" in said.out
    assert '(fields: {"a": 1})' not in said.out, "fields are told by their names"
    assert '(fields: {"facts": {"a": 1}})' in said.out
    assert "policy@1: accepted" in said.out
    assert "polite: 1" in said.out
    assert "(undone: Hello)" in said.out
    assert "/keep FILE.jsonl" in said.out


@pytest.mark.parametrize(
    ("lines", "words", "why"),
    [
        ("/retyr\n", (), "no command /retyr. Did you mean 'retry'"),
        ("/retry\n", (), "Nothing was said yet"),
        ("/score\n", (), "Nothing was said yet"),
        ("Hello\n/keep\n", (), "Keep it where?"),
        ("Hello\n", ("--beside", "control@7"), "nobody called 'control@7'"),
        ("Hello\n", ("--field", "facts"), "NAME=VALUE"),
    ],
)
def test_a_mistake_in_a_pipe_ends_it(bot: Path, piped: Command, lines: str, words: tuple[str, ...], why: str) -> None:
    said = piped(lines, str(bot), *words)
    assert said.code == 2
    assert why in said.err


def test_a_mistake_that_is_typed_is_told_and_the_talk_goes_on(
    bot: Path, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter(["/nothing", "", "Hello", "/quit"])

    class Typed(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Typed())
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    said = cli("chat", str(bot), "--policy", "1")
    assert said.code == 0, said.err
    assert "There is no command /nothing" in said.out
    assert "Good: Hello" in said.out


def test_an_interrupted_reply_is_kept_as_far_as_it_came(
    bot: Path, cli: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rsft.talking import Answering

    typed = iter(["Hello", "/quit"])

    class Typed(io.StringIO):
        def isatty(self) -> bool:
            return True

    def interrupted(answering: Answering) -> None:
        answering.stop()
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Typed())
    monkeypatch.setattr("builtins.input", lambda _: next(typed))
    monkeypatch.setattr(Answering, "__iter__", interrupted)
    said = cli("chat", str(bot), "--policy", "1", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["finish_reason"] in ("stopped", "stop")


def test_a_server_that_is_not_up_is_told_with_what_to_do(bot: Path, piped: Command) -> None:
    file = bot / "recipe.yaml"
    recipe = yaml.safe_load(file.read_text())
    engine = {"type": "openai", "url": "http://127.0.0.1:9/v1", "model": "m"}
    file.write_text(yaml.safe_dump(recipe | {"engine": engine}))
    said = piped("Hello\n", str(bot), "--policy", "base")
    assert said.code == 2
    assert "Nobody listens at http://127.0.0.1:9/v1" in said.err
    assert "--here" in said.err
    assert "none" in piped("Hello\n", str(bot), "--policy", "base", "--here").err, "the model is not here either"
