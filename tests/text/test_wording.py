"""What others wrote does nothing to a terminal, in words or as JSON."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
import typer

from rsft import cli
from rsft.errors import RunError
from rsft.wording import inert_json, whole

STEERING = ("Cc", "Cs", "Zl", "Zp")
TURNING = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
READABLE = "Grüße, 日本語　。 فارسی\u200cها हिन्दी\u200d 👩\u200d🔬 \u00a0"


def test_json_stays_readable_and_says_the_same() -> None:
    said = {READABLE: [READABLE, 1.5, None]}
    assert READABLE in inert_json(said)
    assert json.loads(inert_json(said)) == said


def test_json_holds_no_letter_that_steers_a_terminal() -> None:
    every = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD801 <= code <= 0xDFFF)
    said = inert_json(every)
    kept = set(said) - {"\n"}
    assert not {c for c in kept if unicodedata.category(c) in STEERING or unicodedata.bidirectional(c) in TURNING}
    says_the_same = json.loads(said) == every
    assert says_the_same


def test_a_text_without_halves_of_characters_can_be_stored() -> None:
    assert whole(READABLE) == READABLE
    assert whole(json.loads('"a \\ud83d\\ude00"')) == "a 😀"
    assert whole("\ufeffhalf \ud83d of \ude00") == "\ufeffhalf \ufffd of \ufffd"
    assert whole("\ud83d" + "\ude00") == "😀", "two that came one after the other"


def test_an_error_that_quotes_others_is_inert(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(**_: object) -> None:
        raise RunError("no prompt '\x1b]0;evil\x07\u202e'\nbut others")

    monkeypatch.setattr("rsft.cli.app.app", app)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "rsft: no prompt '\\x1b]0;evil\\x07\\u202e'\nbut others\n"


def test_a_command_prints_such_json(capsys: pytest.CaptureFixture[str]) -> None:
    from rsft.cli.arguments import printed

    printed({"reply": "\x9b31m"}, True, typer.echo)
    assert capsys.readouterr().out == '{\n  "reply": "\\u009b31m"\n}\n'
