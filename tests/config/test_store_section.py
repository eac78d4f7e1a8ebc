"""Where segments may be kept: a URL, and no secret in it."""

from __future__ import annotations

import pytest

import rsft
from rsft.config.store import StoreSection
from rsft.errors import RecipeError
from rsft.setup import check_store


def test_a_url_is_kept_without_its_last_slash() -> None:
    assert StoreSection().segments is None
    assert StoreSection(segments="s3://bucket/prefix/").segments == "s3://bucket/prefix"
    assert StoreSection(segments="abfs://container@account/x").segments == "abfs://container@account/x"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("/shared/runs", "is no URL such as s3://bucket/prefix"),
        ("simplecache::s3://bucket", "is no URL"),
        ("file://host/runs", "is no absolute path"),
        ("file:///shared/../etc", "is no absolute path"),
        ("sftp://me:canary@host/runs", "has no password"),
        ("s3://bucket?key=canary", "no \\?"),
    ],
)
def test_what_is_no_place_is_refused_and_no_secret_told(url: str, problem: str) -> None:
    with pytest.raises(RecipeError, match=problem) as caught:
        rsft.load_recipe("demo", f"store.segments={url}")
    assert "canary" not in str(caught.value)


def test_a_storage_that_is_not_known_is_refused_before_a_run() -> None:
    check_store(rsft.load_recipe("demo"))
    with pytest.raises(RecipeError, match="no storage is known"):
        check_store(rsft.load_recipe("demo", "store.segments=s4://bucket"))
