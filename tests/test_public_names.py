"""The public surface is frozen: a name that comes or goes is a decision, and shows here."""

from __future__ import annotations

from types import ModuleType

import rsft

PUBLIC = """
Candidate CandidateKey Decision Interval Message Policy Prompt Recipe Reply RsftError SamplingParams Score Scorer
UserError __version__ load_recipe run
""".split()  # noqa: SIM905


def test_the_public_names() -> None:
    assert sorted(rsft.__all__) == sorted(PUBLIC)
    there = {name for name, value in vars(rsft).items() if not isinstance(value, ModuleType)}
    shown = {name for name in there if not name.startswith("_")}
    assert shown - {"annotations", "Any", "TYPE_CHECKING"} <= set(PUBLIC)
    assert all(getattr(rsft, name) is not None for name in PUBLIC)
