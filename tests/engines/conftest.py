"""Everything that engines do on a CPU, they do with compiled parts and, where these can't be made, without."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

import rsft.engines.law as law_module
import rsft.engines.local.attention as attention_module
import rsft.models.linear as linear_module


@pytest.fixture(params=["compiled", "torch"], autouse=True, scope="module")
def parts(request: pytest.FixtureRequest) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "torch":
            patch.setattr(law_module, "library", lambda *_, **__: None)
            patch.setattr(attention_module, "kernel_for", lambda *_: None)
            patch.setattr(linear_module, "_halves", lambda: None)
        elif shutil.which("cc") is None:
            pytest.skip("there is no C compiler")
        yield request.param
