"""What a recipe may say of a server, and what its mistakes show."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rsft.config.mistakes import mistakes
from rsft.errors import ServerError
from rsft.servers import Endpoint, Price
from rsft.servers.named import named_servers

CANARY = "sk-canary-8c1f0e"


def found_in(**said: Any) -> str:
    """What is wrong with it, as a recipe's mistakes are told."""
    with pytest.raises(ValidationError) as caught:
        Endpoint(**{"model": "small", **said})
    assert CANARY not in str(caught.value)
    return "\n".join(mistakes(caught.value, Endpoint, "a server"))


def test_a_server_needs_no_more_than_its_model() -> None:
    endpoint = Endpoint(model="small")
    assert (endpoint.url, endpoint.key_variable) == ("https://api.openai.com/v1", "OPENAI_API_KEY")
    assert not endpoint.is_here


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "http://localhost/v1/", "http://[::1]:8000/v1"])
def test_a_server_on_this_machine_needs_no_key(url: str) -> None:
    endpoint = Endpoint(url=url, model="small")
    assert endpoint.is_here
    assert endpoint.key() is None
    assert not endpoint.url.endswith("/")


def test_an_unknown_key_is_named_with_the_nearest() -> None:
    assert "'time_out' is not a key of a server. Did you mean 'timeout_seconds'?" in found_in(time_out=3)
    assert "'price.in' is not a key of 'price'" in found_in(price={"in": 1, "input": 1, "output": 1})


@pytest.mark.parametrize("name", ["key", "api_key", "token"])
def test_a_key_in_the_recipe_is_refused_and_not_shown(name: str) -> None:
    said = found_in(**{name: CANARY})
    assert f"'{name}' is not a key of a server" in said
    assert CANARY not in said


@pytest.mark.parametrize(
    "url",
    [
        f"http://me:{CANARY}@host/v1",
        f"http://{CANARY}@host:99999/v1",
        f"me:{CANARY}@host/v1",
        f"ftp://me:{CANARY}@host",
        f"https://host/v1?key={CANARY}",
        f"https://host/v1#{CANARY}",
    ],
)
def test_a_password_in_an_address_is_refused_and_not_shown(url: str) -> None:
    said = found_in(url=url)
    assert said.startswith("url: holds a password")
    assert "key_env" in said
    assert CANARY not in said


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://host:99999", "http://[::1"])
def test_what_is_no_address_is_refused(url: str) -> None:
    assert found_in(url=url).startswith("url: ")


def test_a_key_that_stands_where_its_variable_belongs_is_not_shown() -> None:
    said = found_in(key_env=CANARY)
    assert "key_env: names an environment variable" in said
    assert CANARY not in said


def test_a_cap_needs_a_price() -> None:
    assert "max_cost needs a price" in found_in(max_cost=3)
    assert Endpoint(model="small", max_cost=3, price=Price(input=1, output=2)).max_cost == 3


def test_a_price_is_for_a_million_tokens() -> None:
    assert Price(input=2, output=8).of(500_000, 250_000) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""),
        ("attempts", 0),
        ("concurrency", 0),
        ("timeout_seconds", 0),
        ("patience_seconds", -1),
        ("max_cost", 0),
        ("requests_per_minute", 0),
        ("tokens_per_minute", float("nan")),
    ],
)
def test_values_that_can_not_be_are_refused(name: str, value: Any) -> None:
    assert found_in(**{name: value}).startswith(f"{name}: ")


def test_a_key_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_KEY", f" {CANARY}\n")
    endpoint = Endpoint(model="small", key_env="SHOP_KEY")
    assert endpoint.key() == CANARY
    assert CANARY not in repr(endpoint) + endpoint.model_dump_json()


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_key_that_is_missing_is_named_by_its_variable(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(ServerError, match="environment variable OPENAI_API_KEY is not set"):
        Endpoint(model="small").key()


@pytest.mark.parametrize("value", [f"{CANARY}\nX-Evil: 1", f"two {CANARY}", f"{CANARY}é", f"\x7f{CANARY}"])
def test_a_key_that_http_can_not_carry_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SHOP_KEY", value)
    with pytest.raises(ServerError, match="SHOP_KEY holds no key") as caught:
        Endpoint(model="small", key_env="SHOP_KEY").key()
    assert CANARY not in str(caught.value)


def test_an_engine_of_ones_own_is_no_server_of_ours_because_it_has_an_address() -> None:
    engine = {"type": "mine.py:service", "url": "http://127.0.0.1:9000/reply"}
    assert named_servers({"model": "m", "engine": engine}) == []
    (found,) = named_servers({"model": "m", "engine": {"type": "openai", "url": "http://127.0.0.1:9000/v1"}})
    assert found.where == "engine"
