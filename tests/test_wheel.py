"""What is released is whole: wheel and source archive hold what they need, and work where there is no checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from rsft.config.load import shipped_recipes
from rsft.registry import SCORERS
from rsft.starting import KINDS
from rsft.version import __version__

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source archive, as `make dist` builds them: the wheel out of the source archive."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    return out / f"rsft-{__version__}-py3-none-any.whl", out / f"rsft-{__version__}.tar.gz"


def tracked(*under: str) -> set[str]:
    """The files of the checkout that git does not ignore."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:  # an unpacked source archive, maybe in a checkout
        pytest.skip("not a git checkout, or no git")
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *under]
    done = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"git has no list of files: {done.stderr}")
    return {name for name in done.stdout.splitlines() if (ROOT / name).is_file()}


def test_the_wheel_holds_the_package_and_nothing_else(archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[0]) as packed:
        names = set(packed.namelist())
    own = {name for name in names if name.startswith("rsft/")}
    assert own == {name.removeprefix("src/") for name in tracked("src/rsft")}
    others = names - own
    assert all(name.startswith(f"rsft-{__version__}.dist-info/") for name in others)
    assert any(name.endswith("licenses/LICENSE") for name in others)


@pytest.mark.parametrize(
    "name",
    [
        *(f"recipes/{name}.yaml" for name in shipped_recipes()),
        *(f"recipes/kinds/{kind}.yaml.j2" for kind in (*KINDS, "recipe")),
        "data/shop.train.jsonl.gz",
        "models/native/attention.c",
        "models/native/lanes.h",
        "report/templates/report.html.j2",
        "report/templates/model_card.md.j2",
        "web/templates/run.html",
        "web/assets/htmx.min.js",
        "web/assets/htmx.LICENSE.txt",
        "py.typed",
    ],
)
def test_the_wheel_holds_what_is_no_python(name: str, archives: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(archives[0]) as packed:
        assert packed.getinfo(f"rsft/{name}").file_size == (ROOT / "src/rsft" / name).stat().st_size


def test_the_source_archive_holds_what_it_takes_to_build_and_to_test(archives: tuple[Path, Path]) -> None:
    with tarfile.open(archives[1]) as packed:
        names = {member.name.partition("/")[2] for member in packed.getmembers() if member.isfile()}
    assert {"pyproject.toml", "Makefile", "constraints.txt", "CHANGELOG.md", "LICENSE", "CITATION.cff"} <= names
    assert {"tests/conftest.py", "tests/tiny.py", "examples/rsft_loop.py", ".importlinter"} <= names
    left_out = {name for name in tracked() - names if not name.startswith("dev/")}
    assert not left_out
    assert names - tracked() == {"PKG-INFO"}, "no environment, run or cache"


@pytest.fixture(scope="module", params=["wheel", "source archive"])
def installed(
    request: pytest.FixtureRequest, archives: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A fresh environment with rsft out of an archive. What rsft requires it borrows from this one, as downloading it
    would take gigabytes."""
    folder = tmp_path_factory.mktemp("clean")
    venv.create(folder / "env", with_pip=False)
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    lent = [path for path in sys.path if Path(path).name == "site-packages"]
    (site / "lent.pth").write_text("\n".join(lent))
    archive = archives[request.param != "wheel"]
    pip = [str(folder / "env/bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    subprocess.run([*pip, *options, str(archive)], check=True, capture_output=True, env=_bare(), cwd=folder)
    return folder / "env"


def _bare() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP"))}


def rsft(env: Path, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(env / "bin/rsft"), *words]
    return subprocess.run(command, cwd=cwd, env=_bare(), capture_output=True, text=True, check=False)


def test_what_is_installed_works_by_itself(installed: Path, tmp_path: Path) -> None:
    where = "import rsft; print(rsft.__file__)"
    found = subprocess.run(
        [str(installed / "bin/python"), "-c", where],
        env=_bare(),
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )
    assert found.stdout.startswith(str(installed)), "and not from the checkout"
    assert rsft(installed, "--version", cwd=tmp_path).stdout == f"rsft {__version__}\n"
    for words, told in (
        (["--help"], "Improve a chat model"),
        (["check", "demo"], "The recipe can be run."),
        (["scorers"], "states_facts"),
        (["scorers", "format"], "one_line"),
        (["schema"], "json-schema.org"),
    ):
        said = rsft(installed, *words, cwd=tmp_path)
        assert (said.returncode, told in said.stdout) == (0, True), said.stdout + said.stderr
    listed = rsft(installed, "scorers", "--json", cwd=tmp_path)
    assert listed.returncode == 0
    assert all(f'"{name}"' in listed.stdout for name in SCORERS)


def test_what_is_installed_writes_a_recipe_and_runs_it(installed: Path, tmp_path: Path) -> None:
    rows = "\n".join(f'{{"prompt": "question {i}", "reference": "reply {i}"}}' for i in range(40))
    (tmp_path / "rows.jsonl").write_text(rows)
    wanted = ["init", "bot.yaml", "--kind", "social", "--model", "none", "--data", "rows.jsonl", "--yes"]
    said = rsft(installed, *wanted, "--heldout-share", "0.2", cwd=tmp_path)
    assert said.returncode == 0, said.stdout + said.stderr
    assert re.search(r"^model: ", (tmp_path / "bot.yaml").read_text(), re.M)
    (tmp_path / "fake.yaml").write_text(
        "model: none\nengine: {type: scripted, replies: ['Good: {prompt}', Bad]}\n"
        "prompts: {train: rows.jsonl}\nscorers: {polite: {type: format, pattern: 'Good.*'}}\n"
        "selection: [polite >= 1]\ntraining: {type: 'null'}\nloop: {iterations: 1, control: none}\n"
    )
    ran = rsft(installed, "run", "fake.yaml", cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    reported = rsft(installed, "report", "runs/fake", cwd=tmp_path)
    assert reported.returncode == 0, reported.stdout + reported.stderr
    assert "<svg" in (tmp_path / "runs/fake/report.html").read_text(encoding="utf-8")
