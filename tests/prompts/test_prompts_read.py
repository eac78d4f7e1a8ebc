"""Formats: the same rows in every one of them, and what is wrong with a file."""

import csv
import datetime
import gzip
import io
import json
import sys
import types
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from rsft.errors import PromptError
from rsft.prompts import load_prompts
from rsft.types import Message

ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "messages": [
            {"role": "user", "content": "Is the bike there?"},
            {"role": "assistant", "content": "Which one?"},
            {"role": "user", "content": "Die grüne, 谢谢"},
        ],
        "facts": {"pick_up": "3 pm"},
        "reference": "From 3 pm.",
    },
    {
        "id": "b",
        "messages": [{"role": "user", "content": 'A "quoted", text\nof two lines'}],
        "facts": {"pick_up": "now"},
        "reference": "Yes.",
    },
]


def csv_text(rows: list[dict[str, Any]]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]))
    writer.writeheader()
    writer.writerows({k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()} for row in rows)
    return out.getvalue()


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> str:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return str(path)


def refusal(source: str, **said: Any) -> str:
    with pytest.raises(PromptError) as refused:
        load_prompts(source, **said)
    return str(refused.value)


@pytest.mark.parametrize(
    "name", ["p.jsonl", "p.jsonl.gz", "p.json", "p.json.gz", "p.csv", "p.csv.gz", "P.JSONL", "p.parquet"]
)
def test_every_format_gives_the_same_prompts(write: Any, tmp_path: Path, name: str) -> None:
    kind = name.lower().split(".")[1]
    if kind == "parquet":
        source = write_parquet(tmp_path / name, ROWS)
    else:
        content = {"jsonl": ROWS, "json": [ROWS], "csv": [csv_text(ROWS).encode()]}[kind]
        source = write(name, *content)
    prompts = load_prompts(source)
    assert [prompt.id for prompt in prompts] == ["a", "b"]
    for prompt, row in zip(prompts, ROWS, strict=True):
        assert prompt.messages == prompt.conversation == tuple(Message(**turn) for turn in row["messages"])
        assert prompt.fields == {"facts": row["facts"], "reference": row["reference"]}


@pytest.mark.parametrize("name", ["p.jsonl", "p.json", "p.csv"])
def test_a_byte_order_mark_is_no_part_of_the_text(write: Any, name: str) -> None:
    text = {"p.jsonl": '{"prompt": "hi"}\n', "p.json": '[{"prompt": "hi"}]', "p.csv": "prompt\nhi\n"}[name]
    (prompt,) = load_prompts(write(name, text.encode("utf-8-sig")))
    assert prompt.messages == (Message("user", "hi"),)


def test_blank_lines_are_skipped_and_counted(write: Any) -> None:
    source = write("p.jsonl", "", {"prompt": "hi"}, "   ", "{", "")
    assert refusal(source).startswith(f"{source}, line 4: is not JSON")


def test_line_separators_within_json_text_are_text(write: Any) -> None:
    text = "one\u2028two\x85three\x0bfour"
    (prompt,) = load_prompts(write("p.jsonl", json.dumps({"prompt": text}, ensure_ascii=False)))
    assert prompt.messages[0].content == text


def test_windows_line_ends(write: Any) -> None:
    assert len(load_prompts(write("p.jsonl", b'{"prompt": "a"}\r\n\r\n{"prompt": "b"}\r\n'))) == 2
    assert load_prompts(write("p.csv", b"prompt,answer\r\na,1\r\n"))[0].fields == {"answer": "1"}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"prompt": "hi"', "is not JSON"),
        ('{"prompt": "hi"} {}', "is not JSON: Extra data"),
        ("[1, 2]", "holds [1, 2]; expected a JSON object"),
        ('"hi"', "holds 'hi'; expected a JSON object"),
        ("null", "holds None; expected a JSON object"),
        ('{"prompt": "hi", "score": NaN}', "NaN is not a JSON number"),
        ('{"prompt": "hi", "score": 1e999}', "field 'score' holds inf; expected a finite number"),
        ('{"prompt": "hi", "prompt": "ho"}', "the key 'prompt' occurs twice"),
        ('{"prompt": "hi", "n": ' + "9" * 5000 + "}", "is not usable JSON"),
        ('{"prompt": ' + "[" * 100_000, "is nested too deeply"),
        ('{"prompt": "hi", "deep": ' + "[" * 70 + "]" * 70 + "}", "field 'deep' holds"),
        ('{"prompt": "half \\ud83d"}', "without lone surrogates"),
        ('{"prompt": "hi", "\\udc00": 1}', "without lone surrogates"),
        ('{"prompt": "hi", "facts": {"a": ["\\udc00"]}}', "field 'facts.a[0]' holds '\\udc00'"),
    ],
)
def test_a_bad_line_is_named(write: Any, line: str, said: str) -> None:
    source = write("p.jsonl", {"prompt": "fine"}, line)
    message = refusal(source)
    assert message.startswith(f"{source}, line 2: ")
    assert said in message
    assert len(message) < 500


def test_paired_surrogates_are_a_character(write: Any) -> None:
    assert load_prompts(write("p.jsonl", '{"prompt": "\\ud83d\\ude00"}'))[0].messages[0].content == "😀"


@pytest.mark.parametrize("name", ["p.jsonl", "p.json", "p.csv"])
@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("prompt\nGrüße\n".encode("latin-1"), "0xfc, which is not UTF-8; expected UTF-8"),
        ("prompt\nhi\n".encode("utf-16"), "looks like UTF-16"),
        (gzip.compress(b"prompt\nhi\n", mtime=0), "is a gzip file; add .gz"),
    ],
)
def test_other_encodings_are_refused(write: Any, name: str, raw: bytes, said: str) -> None:
    assert said in refusal(write(name, raw))


def test_a_line_that_is_not_utf8_is_one_of_several_mistakes(write: Any) -> None:
    message = refusal(write("p.jsonl", b'{"prompt": "\xff"}\n{"prompt": "hi"}\n{\n'))
    assert "line 1: byte 13 is 0xff" in message
    assert "line 3: is not JSON" in message


@pytest.mark.parametrize("name", ["p.jsonl", "p.jsonl.gz", "p.json", "p.json.gz", "p.csv"])
def test_empty_files(write: Any, name: str) -> None:
    for raw in (b"", b"\n", b"\xef\xbb\xbf"):
        assert refusal(write(name, raw)).endswith(f"{name}: holds no rows; expected at least one prompt")


def test_files_with_no_rows_but_a_frame(write: Any, tmp_path: Path) -> None:
    assert "holds no rows" in refusal(write("p.json", "[]"))
    assert "holds no rows" in refusal(write("p.csv", "prompt,id"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"prompt": "hi"}', "expected a list of objects"),
        ('{"prompt": "hi"}\n{"prompt": "ho"}', "name it .jsonl"),
        ('[{"prompt": "hi"},\n {"prompt": ]', "at line 2, column 13"),
        ('[{"prompt": "hi"}, 3]', ", row 2: holds 3; expected a JSON object"),
    ],
)
def test_json_that_is_no_list_of_objects(write: Any, text: str, said: str) -> None:
    assert said in refusal(write("p.json", text))


def test_damaged_gzip(write: Any) -> None:
    whole = gzip.compress(b'{"prompt": "hi"}\n' * 50, mtime=0)
    flipped = bytes([*whole[:-6], whole[-6] ^ 1, *whole[-5:]])
    for number, raw in enumerate([whole[:-9], whole[:12], flipped, b"not gzip", whole + b"junk"]):
        path = Path(write("x")).with_name(f"p{number}.jsonl.gz")
        path.write_bytes(raw)
        assert "is not a whole gzip file" in refusal(str(path)), number


def test_an_endless_line_is_refused_early(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rsft.prompts.text.MAX_LINE", 2**20)
    endless = b'{"prompt": "' + b"x" * 2**21
    assert "line 1: is longer than 1 MiB" in refusal(write("p.jsonl.gz", endless))
    assert "line 1: is longer than 1 MiB" in refusal(write("p.csv", endless))
    monkeypatch.setattr("rsft.prompts.read._MAX_LIST", 2**20)
    assert "write such data as .jsonl" in refusal(write("p.json.gz", endless))


def test_long_csv_cells_are_read_and_the_limit_of_the_process_stays(write: Any) -> None:
    before = csv.field_size_limit()
    assert len(load_prompts(write("p.csv", "prompt", "x" * 200_000, "y"), limit=1)[0].messages[0].content) == 200_000
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["prompt,answer", "hi,1", "hi,1,2"], "line 3: has 3 cells; expected 2, for 'prompt', 'answer'"),
        (["prompt,answer", '"two\nlines",1', "hi"], "line 4: has 1 cells; expected 2"),
        (["prompt,prompt", "hi,ho"], "line 1: names the column 'prompt' twice"),
        (["prompt,", "hi,ho"], "expected a name for each column"),
        (["prompt;answer", "hi;1"], "expected columns separated by commas"),
        (["prompt", "hi", '"open', "quote"], "line 3: is not CSV from here on"),
        (["messages", '"[{"'], "line 2: field 'messages' is not JSON"),
        (["messages", "hello"], "expected a list of turns"),
        (["prompt,facts", 'hi,"{a: 1}"'], "line 2: field 'facts' is not JSON"),
        (["text", "hi"], "found 'text'; expected 'messages'"),
    ],
)
def test_bad_csv(write: Any, lines: list[str], said: str) -> None:
    assert said in refusal(write("p.csv", *lines))


def test_csv_cells_that_only_begin_like_json_are_text(write: Any) -> None:
    prompts = load_prompts(
        write("p.csv", "prompt,note,id", "[INST] hi,[1],", "{x} is what?,{},", '"[1, 2]",,', "plain,,7")
    )
    assert [prompt.messages[0].content for prompt in prompts] == ["[INST] hi", "{x} is what?", "[1, 2]", "plain"]
    assert [prompt.fields["note"] for prompt in prompts] == ["[1]", "{}", "", ""]
    assert prompts[3].id == "7"


def test_csv_prompt_cells_may_hold_a_conversation(write: Any) -> None:
    cell = json.dumps([{"role": "user", "content": "hi"}]).replace('"', '""')
    assert load_prompts(write("p.csv", "prompt", f'"{cell}"'))[0].messages == (Message("user", "hi"),)


def test_parquet_values_become_json_and_its_nulls_are_absent(tmp_path: Path) -> None:
    when = datetime.datetime(2024, 2, 29, 12, 30)
    rows = [
        {"prompt": "hi", "when": when, "price": Decimal("1.50"), "facts": {"a": "1", "b": None}, "list": ["x", None]},
        {"prompt": "ho", "facts": {"a": None, "b": "2"}},
    ]
    first, second = load_prompts(write_parquet(tmp_path / "p.parquet", rows))
    assert first.fields == {"when": "2024-02-29T12:30:00", "price": "1.50", "facts": {"a": "1"}, "list": ["x", None]}
    assert second.fields == {"facts": {"b": "2"}}
    json.dumps([first.fields, second.fields], allow_nan=False)


def test_parquet_refusals(write: Any, tmp_path: Path) -> None:
    assert "is not a readable Parquet file" in refusal(write("p.parquet", b"PAR1 no"))
    assert "is not a readable Parquet file" in refusal(write("q.parquet", b""))
    whole = Path(write_parquet(tmp_path / "whole.parquet", ROWS)).read_bytes()
    for cut in (whole[:-20], whole[:40] + whole[60:], whole.replace(b"Is the bike", b"Is the \xff\xfe\xfd")):
        message = refusal(write("t.parquet", cut))
        assert "is not a readable Parquet file" in message
        assert message.isprintable()
    source = write_parquet(tmp_path / "r.parquet", [{"prompt": "hi"}, {"prompt": ""}])
    assert refusal(source).startswith(f"{source}, row 2: field 'prompt' holds ''")
    source = write_parquet(tmp_path / "s.parquet", [{"prompt": "hi", "image": b"\x00"}])
    assert "row 1: field 'image' holds b'\\x00'; expected text or numbers, not bytes" in refusal(source)


def test_parquet_columns_of_one_name(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_arrays([pyarrow.array(["hi"])] * 2, names=["prompt", "prompt"])
    pyarrow.parquet.write_table(table, tmp_path / "p.parquet")
    assert refusal(str(tmp_path / "p.parquet")).endswith("p.parquet: has the column 'prompt' twice")


class FakeHub:
    """Stands for the package `datasets`."""

    def __init__(self, rows: list[dict[str, Any]] | Exception) -> None:
        self.rows, self.asked = rows, []  # type: ignore[var-annotated]

    def load_dataset(self, *args: Any, **options: Any) -> list[dict[str, Any]]:
        self.asked.append((args, options))
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub([{"prompt": "hi", "answer": "1", "other": None}, {"prompt": "", "answer": "2", "other": None}])
    module = types.ModuleType("datasets")
    module.load_dataset = fake.load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    return fake


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("org/name", (("org/name", None), {"split": "dev"})),
        ("org/name-v1.5", (("org/name-v1.5", None), {"split": "dev"})),
        ("org/name:main", (("org/name", "main"), {"split": "dev"})),
        ("org/name:main#test", (("org/name", "main"), {"split": "test"})),
        ("org/name#train[:10%]", (("org/name", None), {"split": "train[:10%]"})),
    ],
)
def test_datasets_of_the_hub(hub: FakeHub, name: str, asked: Any) -> None:
    (prompt,) = load_prompts(name, split="dev", limit=1)
    assert prompt.fields == {"answer": "1"}
    assert hub.asked == [asked], "and never trust_remote_code"


def test_a_dataset_s_mistakes_name_the_dataset_and_the_row(hub: FakeHub) -> None:
    assert refusal("org/name").startswith("org/name#train, row 2: field 'prompt' holds ''")
    hub.rows = ConnectionError("no\x1b[31m network\nsecond line")
    message = refusal("org/name")
    assert message.endswith("is neither a file nor a dataset that can be loaded: ConnectionError: no\\x1b[31m network")
