"""The public surface is frozen: a name that comes or goes is a decision, and shows here."""

from __future__ import annotations

import rsft

PUBLIC = """
Candidate CandidateKey Decision Interval Message Policy Prompt Recipe Reply RsftError SamplingParams Score Scorer
UserError __version__ load_recipe run
"""


def test_the_public_names() -> None:
    assert sorted(rsft.__all__) == sorted(PUBLIC.split())
    for name in rsft.__all__:
        assert getattr(rsft, name) is not None
    assert {name for name in vars(rsft) if not name.startswith("_")} <= set(PUBLIC.split()) | MODULES


# Sub-packages that something has imported, and what the module itself imports.
MODULES = {"Any", "TYPE_CHECKING", "annotations"} | set(
    "config cli engines errors evaluation failpoints loop metrics models plan progress prompts registry sampling "
    "scorers selection setup stages status store summary training types version".split()
)
