"""What is installed is whole: recipes and data are found from a wheel, without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from rsft.starting import KINDS

ROOT = Path(__file__).parents[1]
TEMPLATES = ("report.html.j2", "report.css", "report.md.j2", "model_card.md.j2", "dataset_card.md.j2")
NATIVE = ("adapter.c", "attention.c", "law.c", "linear.c", "steps.c", "lanes.h")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(out), str(ROOT)], check=True, capture_output=True)
    (made,) = out.glob("rsft-*.whl")
    return made


def test_the_wheel_holds_recipes_data_and_types_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
    kinds = {f"rsft/recipes/kinds/{kind}.yaml.j2" for kind in (*KINDS, "recipe")}
    assert kinds <= set(names)
    assert "rsft/py.typed" in names
    recipes = {f"rsft/recipes/{name}.yaml" for name in ("demo", "service_dialogues", "character", "social")}
    assert recipes <= set(names)
    data = ("shop", "character", "social")
    assert {f"rsft/data/{name}.{split}.jsonl.gz" for name in data for split in ("train", "heldout")} <= set(names)
    assert {f"rsft/models/native/{name}" for name in NATIVE} <= set(names)
    shown = (file for folder in ("assets", "templates") for file in (ROOT / "src/rsft/web" / folder).iterdir())
    assert {f"rsft/web/{file.parent.name}/{file.name}" for file in shown} <= set(names)
    assert {"rsft/web/assets/htmx.min.js", "rsft/web/assets/htmx.LICENSE.txt"} <= set(names)
    assert {f"rsft/report/templates/{name}" for name in TEMPLATES} <= set(names)
    assert all(name.startswith(("rsft/", "rsft-")) for name in names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_a_shipped_recipe_is_found_by_name_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(installed)
    program = "import rsft, sys; assert rsft.__file__.startswith(sys.argv[1]); from rsft.cli import main; "
    program += "sys.argv = ['rsft', 'check', 'demo']; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, str(installed)],
        env={**os.environ, "PYTHONPATH": str(installed)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "The recipe can be run." in done.stdout
