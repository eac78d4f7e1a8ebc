"""What is sent of a policy, what is made of it there, and what is written where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rsft.cluster.policies import Sent
from rsft.cluster.writing import carried_out
from rsft.models import merging
from rsft.models.merging import whole_model
from rsft.models.network import Network
from rsft.models.student import Student
from rsft.store import rows
from rsft.store.places import Local
from rsft.store.writing import Order
from rsft.types import Policy
from tiny import save_model


def trained(run: Path, seed: int) -> Policy:
    """A policy in a run's folder: whole weights."""
    folder = save_model(run / "policy" / "weights", seed=seed)
    return Policy(f"{seed}a", weights=str(folder))


def arrived(policy: Policy) -> Policy:
    """What a machine has of it that does not see the run's disk."""
    sent = Sent(policy).packed(lambda part: part)
    return replace(sent).arrived(lambda parts: parts)


def test_what_is_made_of_one_policy_is_not_taken_for_another_s(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RSFT_CACHE", str(tmp_path / "cache"))
    student = Student([str(tiny_folder)], dtype="float32")
    policies = [arrived(trained(tmp_path / str(seed), seed)) for seed in (1, 2)]
    wholes = [whole_model(student, policy) for policy in policies]
    assert wholes[0] != wholes[1]
    for seed, whole in zip((1, 2), wholes, strict=True):
        made = (tmp_path / str(seed) / "policy" / "weights" / "model.safetensors").read_bytes()
        assert (whole / "model.safetensors").read_bytes() == made
        assert (tmp_path / "cache") in whole.parents
    assert policies[0] == arrived(Policy("1a", weights=str(tmp_path / "1" / "policy" / "weights"))), "it is there"


def test_two_workers_may_make_the_same_model_at_once(
    tiny_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one of them writes, another begins and comes to its end."""
    policy = trained(tmp_path, 1)
    plain = Network.plain
    others = [Student([str(tiny_folder)], dtype="float32")]

    def overtaken(self: Network) -> object:
        if others:
            merging.whole_model(others.pop(), policy)
        return plain(self)

    monkeypatch.setattr(Network, "plain", overtaken)
    whole = whole_model(Student([str(tiny_folder)], dtype="float32"), policy)
    assert not others
    assert (whole / "model.safetensors").is_file()
    assert [one.name for one in whole.parent.iterdir()].count("whole") == 1
    assert {one.name for one in whole.parent.iterdir()} == {"weights", "whole"}


def test_a_segment_is_written_by_those_who_see_its_own_disk(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    table = rows.candidates_table([])
    order = Order(Local(tmp_path / "shared"), "candidates/a.parquet", "candidates", "1", [table], 0, "candidates")
    (tmp_path / ".written-1").touch()  # the run's disk is seen
    assert carried_out(order, ".written-1") is None
    assert not list((tmp_path / "shared").iterdir())
    (tmp_path / "shared" / ".written-1").touch()
    assert carried_out(order, ".written-1") is not None
