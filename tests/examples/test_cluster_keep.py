"""examples/cluster/keep.py: a machine that vanishes with its disk, and another one that goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from two_nodes import FOLDER, machine, outcome, undisturbed, wait_for, write_recipe

KEEP = FOLDER / "keep.py"
RUN, KEPT = Path("runs/bot"), Path("bucket/bot")


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    import keep

    return keep


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_recipe()


def test_a_run_whose_disk_is_gone_is_taken_up_from_its_copy() -> None:
    # As the script does, but for how often it copies.
    often = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import keep; from pathlib import Path; "
    often += f"sys.exit(keep.main(Path({str(RUN)!r}), Path({str(KEPT)!r}), ['rsft', 'run', 'bot.yaml'], 0.1))"
    with machine() as environment:
        keeper = subprocess.Popen([sys.executable, "-c", often], env=environment, start_new_session=True)
        wait_for(lambda: Path("reached").exists() and (KEPT / "iterations/1/policy/training.json").exists())
        wait_for((KEPT / "ledger.sqlite").exists)
        os.killpg(keeper.pid, signal.SIGKILL)
        keeper.wait()
        shutil.rmtree(RUN)
        first = {file.name: file.read_bytes() for file in (KEPT / "candidates").iterdir()}
        assert first

        Path("go").touch()
        command = [sys.executable, str(KEEP), str(RUN), str(KEPT), "rsft", "run", "bot.yaml"]
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    assert {name: (RUN / "candidates" / name).read_bytes() for name in first} == first
    assert outcome(RUN) == outcome(KEPT) == undisturbed()


def test_a_copy_of_a_run_that_goes_on_can_be_opened_at_any_time(keep: Any) -> None:
    Path("go").touch()
    with machine() as environment:
        running = subprocess.Popen(["rsft", "run", "bot.yaml"], env=environment, stdout=subprocess.DEVNULL)
        copies = 0
        seen: Any = {}
        while running.poll() is None:
            if keep.copy(RUN, KEPT, seen):
                copies += 1
                outcome(KEPT)
        assert running.returncode == 0
    assert copies
    assert keep.copy(RUN, KEPT, seen)
    assert outcome(KEPT) == outcome(RUN)


def test_a_second_copy_copies_what_has_changed_and_a_file_that_goes_away_puts_the_ledger_off(
    keep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed()
    alone, seen = Path("runs/alone"), {}
    assert keep.copy(alone, KEPT, seen)
    copied: list[str] = []
    real = shutil.copyfile

    def watched(source: Path, target: Path) -> None:
        copied.append(Path(source).name)
        real(source, target)

    monkeypatch.setattr(keep.shutil, "copyfile", watched)
    (alone / "summary.json").write_text("{}")
    assert keep.copy(alone, KEPT, seen)
    assert copied == ["summary.json", "ledger.sqlite"]
    about = keep.files_of(alone) | {Path("candidates/gone.parquet"): (1, 1)}
    monkeypatch.setattr(keep, "files_of", lambda _: about)
    copied.clear()
    assert not keep.copy(alone, KEPT, seen)
    assert "ledger.sqlite" not in copied


@pytest.mark.parametrize("code", [0, 2])
def test_the_exit_code_is_the_commands_and_what_is_there_is_not_overwritten(keep: Any, code: int) -> None:
    undisturbed()
    shutil.copytree("runs/alone", KEPT)
    RUN.mkdir()
    assert keep.main(RUN, KEPT, [sys.executable, "-c", f"raise SystemExit({code})"]) == code
    assert not list(RUN.iterdir())
    assert keep.bring_back(KEPT, Path("runs/back")).keys() == keep.files_of(KEPT).keys()
    assert outcome(Path("runs/back")) == outcome(Path("runs/alone"))


def test_a_bucket_that_fails_for_a_while_does_not_end_the_keeping(
    keep: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed()
    real, failures = keep.copy, [OSError("the bucket is away"), OSError("the bucket is away")]

    def copy(run: Path, kept: Path, seen: Any) -> bool:
        if failures:
            raise failures.pop()
        return bool(real(run, kept, seen))

    monkeypatch.setattr(keep, "copy", copy)
    waiting = "import pathlib, time\nwhile not pathlib.Path('bucket/bot/ledger.sqlite').exists(): time.sleep(0.05)"
    assert keep.main(Path("runs/alone"), KEPT, [sys.executable, "-c", waiting], 0.05) == 0
    assert capsys.readouterr().err.count("keep: not copied, and tried again: the bucket is away") == 2
    assert outcome(KEPT) == outcome(Path("runs/alone"))
