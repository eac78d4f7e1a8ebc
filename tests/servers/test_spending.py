"""What a run has spent is known after each resume, and its cap holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rsft.errors import RunError, ServerError
from rsft.servers import Endpoint, Price, Spending, chat, spending

ENDPOINT = Endpoint(url="http://127.0.0.1:8000/v1", model="small", price=Price(input=1, output=4), max_cost=10)
NAME = "small at http://127.0.0.1:8000/v1"


def test_what_is_spent_is_summed_by_endpoint() -> None:
    account = Spending()
    account.add(ENDPOINT, 1_000_000, 500_000)
    account.add(ENDPOINT, 500_000, 0)
    account.add(Endpoint(url="http://127.0.0.1:8000/v1", model="free"), 7, 8)
    assert account.sums[NAME] == {"requests": 2, "read": 1_500_000, "written": 500_000, "cost": 3.5}
    assert account.sums["free at http://127.0.0.1:8000/v1"] == {"requests": 1, "read": 7, "written": 8, "cost": 0}


def test_a_cap_holds_over_resumes(tmp_path: Path) -> None:
    file = tmp_path / "spending.json"
    for _ in range(3):
        account = Spending()  # each time a process of its own
        account.keep_in(file)
        account.check(ENDPOINT)
        account.add(ENDPOINT, 4_000_000, 0)
        account.write()
    account = Spending()
    account.keep_in(file)
    with pytest.raises(ServerError, match=r"'small' at .* has cost 12\.00, and max_cost is 10"):
        account.check(ENDPOINT)
    assert account.sums[NAME]["requests"] == 3
    account.check(Endpoint(url=ENDPOINT.url, model="small", price=ENDPOINT.price))  # who sets no cap has none
    account.check(Endpoint(url=ENDPOINT.url, model="other", price=ENDPOINT.price, max_cost=1))


def test_another_run_has_an_account_of_its_own_and_the_first_ones_is_written(tmp_path: Path) -> None:
    account = Spending()
    account.keep_in(tmp_path / "first.json")
    account.write()
    account.add(ENDPOINT, 4_000_000, 0)
    account.add(ENDPOINT, 4_000_000, 0)  # within a second of the last writing
    account.keep_in(tmp_path / "second.json")
    assert account.sums == {}
    assert json.loads((tmp_path / "first.json").read_text())[NAME]["cost"] == 8


def test_sums_are_written_while_they_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spending, "_SECONDS", 0.0)
    account = Spending()
    account.keep_in(tmp_path / "spending.json")
    account.add(ENDPOINT, 1, 1)
    account.add(ENDPOINT, 1, 1)
    assert json.loads((tmp_path / "spending.json").read_text())[NAME]["requests"] == 2
    assert [file.name for file in tmp_path.iterdir()] == ["spending.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"a": {"requests": 1}}', '{"a": {"requests": "x"}}'])
def test_a_file_that_can_not_be_read_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "spending.json"
    file.write_text(text)
    with pytest.raises(RunError, match=r"can't be read from .*spending\.json"):
        Spending().keep_in(file)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 4}, (3, 4)),
        ({"prompt_tokens": -3, "completion_tokens": 4.5}, (0, 0)),
        ({"prompt_tokens": None}, (0, 0)),
        (None, (0, 0)),
        ([1], (0, 0)),
    ],
)
def test_what_an_answer_says_of_its_tokens(usage: object, tokens: tuple[int, int]) -> None:
    assert chat.tokens_of({"usage": usage}) == tokens
    assert chat.tokens_of({}) == (0, 0)
