"""Models for scorers to ask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tiny import save_classifier, save_model


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    at = tmp_path_factory.mktemp("classifiers")
    return {
        "reward": save_classifier(at / "reward", [""], max_position_embeddings=4096),
        "reward with filling": save_classifier(at / "filled", [""], max_position_embeddings=4096, pad_token_id=258),
        "tone": save_classifier(at / "tone", ["polite", "rude", "neutral"], architecture="bert"),
        "labels": save_classifier(
            at / "labels", ["toxic", "threat"], architecture="bert", problem_type="multi_label_classification"
        ),
        "nli": save_classifier(at / "nli", ["entailment", "neutral", "contradiction"], architecture="bert"),
        "unnamed": save_classifier(at / "unnamed", ["", "", ""], architecture="bert"),
        "steps": save_classifier(at / "steps", ["bad", "good"], by_token=True, max_position_embeddings=4096),
        "chat": save_model(at / "chat"),
        "pairs": save_classifier(at / "pairs", [""], architecture="bert", max_position_embeddings=4096),
    }
