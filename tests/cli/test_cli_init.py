"""`rsft init`: by flags, by questions and answers, and what it refuses."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from command import Command, Said
from rsft.config import load_recipe

Asked = Callable[..., Said]


@pytest.fixture
def rsft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Command) -> Command:
    """Runs a command in a folder with some data. There is no terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    known = [{"prompt": f"Where is my parcel {n}?", "facts": {"delivery day": "Tuesday"}} for n in range(20)]
    odd = [
        {
            "talk": [{"role": "user", "content": f"Wo bleibt mein Paket {n}, das ich letzte Woche bestellt habe? 🙂"}],
            "slots": {"包裹": "Montag"},
        }
        for n in range(20)
    ]
    for name, rows in {"known": known, "odd": odd, "other": [{"prompt": "And mine?", "facts": {"a": "b"}}]}.items():
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return cli


@pytest.fixture
def asked(rsft: Command, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The same in a terminal, in which these lines are typed."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def command(*words: str, typed: list[str]) -> Said:
        monkeypatch.setattr(sys, "stdin", Terminal("".join(f"{line}\n" for line in typed)))
        return rsft(*words)

    return command


def test_flags_alone_write_a_recipe_that_can_be_run(rsft: Command) -> None:
    said = rsft("init", "my bot.yaml", "--kind", "service", "--data", "known.jsonl", "--model", "none", "--yes")
    assert said.code == 0, said.err
    for words in (
        "18 conversations to train on, 2 held out",
        "Tell me in one sentence",
        "The recipe can be run.",
        "Only 2 held",
    ):
        assert words in " ".join(said.out.split()), words
    for words in ("rsft scorers test 'my bot.yaml'", "rsft run 'my bot.yaml'", "rsft ui"):
        assert words in said.out
    assert said.out.count("as the model reads it") == 3
    assert rsft("check", "my bot.yaml").code == 0
    assert sorted(path.name for path in Path().glob("my bot*")) == [
        "my bot.heldout.jsonl", "my bot.train.jsonl", "my bot.yaml",
    ]  # fmt: skip


def test_without_a_terminal_each_missing_flag_is_named(rsft: Command) -> None:
    words = ["init"]
    for flag, value in (
        ("--kind", "service"),
        ("--data", "odd.jsonl"),
        ("--column", "messages=talk"),
        ("--column", "facts=slots"),
        ("--model", "none"),
        ("--heldout", "other.jsonl"),
    ):
        said = rsft(*words)
        assert said.code == 2
        assert flag in said.err
        assert not Path("bot.yaml").exists()
        words += [flag, value]
    assert rsft(*words).code == 0
    assert load_recipe("bot.yaml").prompts.heldout == [str(Path("bot.heldout.jsonl").absolute())]


def test_json_is_json_and_nothing_else(rsft: Command) -> None:
    said = rsft("init", "--kind", "social", "--data", "odd.jsonl", "--yes", "--json").json
    assert said["columns"] == {"messages": "talk"}
    assert said["data"]["train"] == 18
    assert said["data"]["fields"] == {}
    assert said["check"]["prompts"]["train"]["count"] == 18
    assert len(said["shown"]) == 3
    assert said["written"] == ["bot.train.jsonl", "bot.heldout.jsonl", "bot.yaml"]
    assert any("other languages" in note for note in said["notes"])


def test_nothing_is_overwritten_and_that_is_said_before_anything_is_asked(rsft: Command, asked: Asked) -> None:
    Path("bot.yaml").write_text("mine")
    said = asked("init", typed=[])
    assert said.code == 2
    assert "bot.yaml is there already" in said.err
    assert Path("bot.yaml").read_text() == "mine"
    Path("bot.yaml").unlink()
    Path("bot.train.jsonl").write_text("mine, too")
    words = ("init", "--kind", "social", "--data", "known.jsonl", "--yes")
    said = rsft(*words)
    assert said.code == 2
    assert "as the model reads it" not in said.out
    assert Path("bot.train.jsonl").read_text() == "mine, too"
    assert rsft(*words, "--force").code == 0
    assert "parcel" in Path("bot.train.jsonl").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["bot.jsonl"], ["no recipe's name", "--data bot.jsonl"]),
        (["--kind", "servce"], ["Did you mean 'service'?"]),
        (["--data", "knwn.jsonl"], ["Did you mean 'known.jsonl'?"]),
        (["--data", "empty.jsonl"], ["holds no rows", '{"messages": [{"role"']),
        (["--data", "bad.csv"], ["separated by commas", "Mend the file"]),
        (["--data", "bad.jsonl"], ["line 1", "is not JSON", "Mend the file"]),
        (["--data", "turns.jsonl"], ["messages[0]", "Mend the file"]),
        (["--column", "prompt"], ["WHAT=COLUMN"]),
        (["--heldout-share", "2"], ["between 0 and 1"]),
        (["--heldout-share", "0"], ["between 0 and 1"]),
        (["--heldout", "other.jsonl", "--heldout-share", "0.1"], ["keep one"]),
        (["--teacher", "big"], ["--kind distillation"]),
        (["--kind", "distillation"], ["--teacher"]),
    ],
)
def test_mistakes_are_told_with_what_to_do(rsft: Command, words: list[str], told: list[str]) -> None:
    bad = {
        "empty.jsonl": "",
        "bad.csv": "a;b\n1;2\n",
        "bad.jsonl": "{",
        "turns.jsonl": '{"messages": [{"role": "user"}]}',
    }
    for name, text in bad.items():
        Path(name).write_text(text)
    whole = ["init", "--yes", *words]
    for flag, value in (("--kind", "social"), ("--data", "known.jsonl")):
        whole += [flag, value] if flag not in words else []
    said = rsft(*whole)
    assert said.code == 2
    assert "Traceback" not in said.err
    assert all(one in said.err for one in told), said.err
    assert not Path("bot.yaml").exists()


def test_a_key_is_named_and_never_written(rsft: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    words = ["init", "--kind", "distillation", "--data", "known.jsonl", "--yes", "--teacher", "big", "--model", "none"]
    refused = rsft(*words, "--key-env", "sk-canary-123")
    assert refused.code == 2
    assert "canary" not in refused.err + refused.out
    assert not Path("bot.yaml").exists()
    monkeypatch.setenv("SHOP_KEY", "sk-canary-123")
    said = rsft(*words, "--key-env", "SHOP_KEY", "--judge", "bigger")
    assert said.code == 0, said.err
    assert "export SHOP_KEY=..." in said.out
    text = Path("bot.yaml").read_text()
    assert "canary" not in text + said.out + said.err
    recipe = yaml.safe_load(text)
    assert recipe["sampling"]["generators"][1]["key_env"] == "SHOP_KEY"
    assert recipe["scorers"]["judged"]["server"]["model"] == "bigger"


def test_questions_are_asked_until_they_are_answered(asked: Asked) -> None:
    said = asked(
        "init",
        typed=["9", "1", "nope.jsonl", "odd.jsonl", "y", "none", "0", "20%", ""],
    )
    assert said.code == 0, said.err
    out = " ".join(said.out.split())
    for words in ("There is no kind of bot '9'", "There is no prompt file nope.jsonl", "between 0 and 1"):
        assert words in out
    assert "The column 'talk' is read as messages." in out
    assert "16 conversations to train on, 4 held out" in out
    assert load_recipe("bot.yaml").model == ["none"]


def test_a_distillation_asks_for_its_server_and_for_no_key(asked: Asked) -> None:
    typed = ["7", "http://127.0.0.1:8000/v1", "", "big", "", "", "known.jsonl", "none", "", "y"]
    said = asked("init", typed=typed)
    assert said.code == 0, said.err
    recipe = yaml.safe_load(Path("bot.yaml").read_text())
    server = {"model": "big", "url": "http://127.0.0.1:8000/v1"}
    assert recipe["scorers"]["judged"]["server"] == server
    assert recipe["sampling"]["generators"] == ["policy", {"type": "openai", "share": 3, **server}]
    assert "key" not in "".join(line for line in said.out.splitlines() if line.startswith("  export"))


def test_an_interruption_writes_nothing(rsft: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient(io.StringIO):
        def isatty(self) -> bool:
            return True

        def readline(self, size: int | None = -1, /) -> str:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Impatient())
    said = rsft("init", "--kind", "social")
    assert said.code == 130
    assert "nothing was written" in said.err
    assert not list(Path().glob("bot*"))


def test_a_proposal_can_be_corrected(asked: Asked) -> None:
    said = asked(
        "init", "--kind", "service", "--data", "odd.jsonl", "--model", "none",
        typed=["n", "takl", "talk", "-", "-", "-", "other.jsonl", "yes"],
    )  # fmt: skip
    assert said.code == 0, said.err
    assert "There is no column 'takl'" in said.out
    recipe = load_recipe("bot.yaml")
    assert "facts" not in recipe.scorers
    assert recipe.prompts.heldout == [str(Path("bot.heldout.jsonl").absolute())]


def test_columns_that_tell_nothing_are_asked_for(asked: Asked) -> None:
    Path("two.jsonl").write_text('{"left": "Hi there", "right": "Ho"}\n{"left": "Good day", "right": "Ha"}\n')
    words = ("init", "--kind", "social", "--data", "two.jsonl", "--model", "none", "--heldout-share", "0.5")
    assert asked(*words, typed=["left", "right", ""]).code == 0
    row = json.loads(Path("bot.train.jsonl").read_text())
    assert set(row) == {"prompt", "reference"}


def test_a_no_at_the_end_and_an_end_of_the_input_write_nothing(asked: Asked) -> None:
    words = ("init", "--kind", "social", "--data", "known.jsonl", "--model", "none")
    said = asked(*words, typed=["", "n"])
    assert said.code == 0
    assert "Nothing was written." in said.out
    said = asked(*words, typed=[""])
    assert said.code == 2
    assert "nothing was written" in said.err
    assert not list(Path().glob("bot*"))


def test_what_is_next_can_be_done(rsft: Command) -> None:
    """Scorers are tested on references; without any, labels are needed."""
    Path("answered.jsonl").write_text("".join(f'{{"question": "{n}?", "answer": "{n}!"}}\n' for n in range(9)))
    for name, words in (
        ("known", "scorers test known.yaml --labels FILE"),
        ("answered", "scorers test answered.yaml\n"),
    ):
        said = rsft("init", f"{name}.yaml", "--kind", "social", "--data", f"{name}.jsonl", "--model", "none", "--yes")
        assert f"rsft {words}" in said.out
        assert f"rsft {words.strip()}" in Path(f"{name}.yaml").read_text()


def test_a_place_that_can_not_be_written_to_is_told(rsft: Command) -> None:
    Path("file").write_text("")
    said = rsft("init", "file/bot.yaml", "--kind", "social", "--data", "known.jsonl", "--model", "none", "--yes")
    assert said.code == 2
    assert "file/bot.train.jsonl can't be written" in said.err


def test_text_of_the_data_does_nothing_to_the_terminal(rsft: Command) -> None:
    rows = [{"prompt": f"[bold]{n}[/bold] \x1b[31mred {{{{ 1/0 }}}} and some more words"} for n in range(4)]
    Path("evil.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = rsft("init", "--kind", "social", "--data", "evil.jsonl", "--yes", "--model", "none")
    assert said.code == 0, said.err
    assert "\x1b[31m" not in said.out
    assert r"\x1b[31mred {{ 1/0 }}" in " ".join(said.out.split())


def test_it_asks_in_a_real_terminal(rsft: Command) -> None:
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover
        os.execv(sys.executable, [sys.executable, "-m", "rsft", "init", "--kind", "social", "--model", "none"])
    typed, out = [b"known.jsonl\n", b"\n", b"\n"], b""
    while select.select([terminal], [], [], 120)[0]:
        try:
            said = os.read(terminal, 4096)
        except OSError:
            break
        if not said:
            break
        out += said
        if out.endswith(b"> ") and typed:
            os.write(terminal, typed.pop(0))
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, out
    assert b"The recipe can be run." in out
    assert Path("bot.yaml").is_file()
