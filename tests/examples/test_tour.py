"""The notebook of examples/: its cells run in a kernel, and it is shipped without what they said."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
FILE = ROOT / "examples/tour.ipynb"


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What the cells said, in order."""
    folder = tmp_path_factory.mktemp("tour")
    read = nbformat.read(FILE, as_version=4)
    kernel = nbclient.NotebookClient(
        read, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "MPLCONFIGDIR"):  # and none at home
            patch.setenv(name, str(folder / name.lower()))
        patch.setenv("PYTHONPATH", str(ROOT / "src"))
        kernel.execute()
    assert (folder / "runs/tour/summary.json").is_file()
    return [output for cell in read.cells if cell.cell_type == "code" for output in cell.outputs]


def words(outputs: list[Any]) -> str:
    return "\n".join(str(one.get("text") or one.get("data", {}).get("text/plain", "")) for one in outputs)


def test_it_runs_and_shows_tables_pictures_and_replies(outputs: list[Any]) -> None:
    assert not [one for one in outputs if one.output_type == "error"]
    pictures = [one for one in outputs if "image/png" in one.get("data", {})]
    tables = [one for one in outputs if "text/html" in one.get("data", {})]
    assert len(pictures) == 3
    assert len(tables) == 5
    said = words(outputs)
    assert "Fakes took part: scripted, null" in said
    assert "scores.like_reference.value" in said
    assert "no_duplicates" in said
    assert "\npolicy \n  Of course. The " in said


def test_a_stricter_line_accepts_fewer_in_it(outputs: list[Any]) -> None:
    moved = next(str(one["data"]["text/plain"]) for one in outputs if "line  " in words([one]))
    accepted = [int(line.split()[1]) for line in moved.splitlines()[2:]]
    assert accepted == sorted(accepted, reverse=True)
    assert accepted[0] > accepted[-1] > 0


def test_it_is_valid_and_shipped_without_outputs() -> None:
    read = nbformat.read(FILE, as_version=4)
    nbformat.validate(read)
    cells = [cell for cell in read.cells if cell.cell_type == "code"]
    assert len(cells) >= 8
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)
    assert sum(cell.cell_type == "markdown" for cell in read.cells) >= 8
    assert sys.executable not in FILE.read_text(encoding="utf-8")
