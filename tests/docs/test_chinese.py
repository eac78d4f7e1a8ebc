"""The Chinese pages say what the English ones say. Prose and comments are each language's own; code, numbers, tables
and links are the same, section by section, so that neither page changes without the other.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from difflib import ndiff
from itertools import zip_longest
from os.path import dirname, join, normpath
from typing import NamedTuple

import pytest
from documents import ROOT

CHINESE = ["README.zh.md", *sorted(f"docs/zh/{page.name}" for page in (ROOT / "docs/zh").glob("*.md"))]

FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$", flags=re.M | re.S)
INDENTED = re.compile(r"(?:^    .*\n)+", flags=re.M)
IN_LINE = re.compile(r"`([^`]+)`")
LINK = re.compile(r"\]\(([^)]+)\)")
# Percentage points are points in Chinese, and a per cent sign in English.
NUMBER = re.compile(r"((?:(?<![A-Za-z0-9])[+−-])?\d+(?:[.,]\d+)*)(\s?%|\s?个百分点)?")
HAN = re.compile(r"[\u4e00-\u9fff]")


def english(page: str) -> str:
    """The page that a Chinese page, or a link to one, stands for; of any other, itself."""
    return page.replace("docs/zh/", "docs/").replace(".zh.md", ".md")


class Section(NamedTuple):
    page: str
    level: int
    title: str
    text: str  # with its heading


def sections(page: str, text: str) -> list[Section]:
    """The page cut before each heading; what is before the first has level 0. A `#` in a fenced block is none."""
    starts, fenced = [0], False
    for line in re.finditer(r"^.*\n", text, flags=re.M):
        fenced ^= line[0].startswith("```")
        if line.start() and not fenced and re.match("#+ ", line[0]):
            starts.append(line.start())
    parts = [text[start:end] for start, end in zip_longest(starts, starts[1:])]
    heads = [part.partition("\n")[0] for part in parts]
    levels = [len(head) - len(head.lstrip("#")) for head in heads]
    return [Section(page, *one) for one in zip(levels, (head.lstrip("# ") for head in heads), parts, strict=True)]


def led_to(page: str, text: str) -> list[str]:
    """The files that the page's links name, in order, from the root of the repository."""
    inside = [link.partition("#")[0] for link in LINK.findall(text) if not re.match(r"\w+:|#", link)]
    return [normpath(join(dirname(page), link)) for link in inside]


# What the two must share: each is a section's lines, and two sections are compared line by line.


def code(section: Section) -> Iterator[str]:
    """All blocks in order, without comments. What a block of plain text or JSON holds is no comment."""
    for language, block in FENCED.findall(section.text):
        yield f"```{language}"
        comment = r"(^|\s+)#.*" if language in ("sh", "yaml", "python") else r"$^"
        yield from (line for line in (re.sub(comment, "", line) for line in block.splitlines()) if line.strip())
    for block in INDENTED.findall(FENCED.sub("", section.text)):
        yield "indented"  # commands and file trees: two spaces, and what a line is for
        yield from (re.split(r"\s{2,}", line.strip())[0] for line in block.splitlines())


def tables(section: Section) -> Iterator[str]:
    """Each row: how many cells it has, and the code and numbers in it, in whatever order its language wants them."""
    for row in re.findall(r"^\|.*\|$", FENCED.sub("", section.text), flags=re.M):
        yield " | ".join([f"{row.count(' | ') + 1} cells", *sorted(IN_LINE.findall(row)), *sorted(numbers(row))])


def numbers(text: str) -> Iterator[str]:
    """All that is written in digits, with its per cent sign if it has one."""
    for value, per_cent in NUMBER.findall(LINK.sub("", text)):
        yield value + ("%" if per_cent else "")


def code_within_lines(section: Section) -> set[str]:
    """Commands, options, keys and files between backticks; a line may break within."""
    return {" ".join(one.split()) for one in IN_LINE.findall(FENCED.sub("", section.text))}


def links(section: Section) -> set[str]:
    """Where the section leads, without the way from a page to its other language."""
    return {english(file) for file in led_to(section.page, section.text)} - {english(section.page)}


SHARED: dict[str, Callable[[Section], list[str]]] = {
    "code blocks": lambda section: list(code(section)),
    "tables": lambda section: list(tables(section)),
    "numbers": lambda section: sorted(numbers(section.text)),
    "code within lines": lambda section: sorted(code_within_lines(section)),
    "links": lambda section: sorted(links(section)),
}


def differences(what: str, ours: list[Section], theirs: list[Section]) -> list[str]:
    """What only the English (-) or only the Chinese page (+) has, under the heading of its section."""
    found = []
    for one, other in zip(ours, theirs, strict=True):
        lines = ndiff(SHARED[what](one), SHARED[what](other))
        if changed := [line for line in lines if line[0] in "-+"]:
            found += [f"{what} under {one.title!r} of {one.page} and {other.title!r} of {other.page}:", *changed]
    return found


def both(chinese: str) -> tuple[list[Section], list[Section]]:
    ours, theirs = (sections(page, (ROOT / page).read_text(encoding="utf-8")) for page in (english(chinese), chinese))
    return ours, theirs


@pytest.mark.parametrize("chinese", CHINESE)
def test_the_headings_are_as_many_and_as_deep(chinese: str) -> None:
    ours, theirs = both(chinese)
    shown = "\n".join(f"{one and one.title} = {other and other.title}" for one, other in zip_longest(ours, theirs))
    assert [one.level for one in ours] == [other.level for other in theirs], f"{chinese}\n{shown}"


@pytest.mark.parametrize("what", SHARED)
@pytest.mark.parametrize("chinese", CHINESE)
def test_each_section_has_the_same(chinese: str, what: str) -> None:
    found = differences(what, *both(chinese))
    assert not found, "\n".join(["", *found])


@pytest.mark.parametrize("chinese", CHINESE)
def test_the_first_link_leads_to_the_english_page_and_others_to_chinese_ones_where_there_are(chinese: str) -> None:
    first, *others = led_to(chinese, (ROOT / chinese).read_text(encoding="utf-8"))
    assert first == english(chinese)
    translated = {english(page) for page in CHINESE}
    assert [file for file in others if file in translated] == []
    assert [file for file in others if file != english(file) and file not in CHINESE] == []


@pytest.mark.parametrize("chinese", CHINESE)
def test_no_paragraph_is_left_in_english(chinese: str) -> None:
    prose = INDENTED.sub("", FENCED.sub("", (ROOT / chinese).read_text(encoding="utf-8")))
    long = [line for line in prose.splitlines() if len(line.split()) > 5 and not line.startswith("|")]
    assert [line for line in long if not HAN.search(line)] == []


PAGE = """# Page
Take `--fast`, 90% of the time: [more](docs/more.md).
## Next
    make it    # quickly

```sh
rsft run bot.yaml  # 3 times
```

| name | share |
| --- | --- |
| `a` | 5.5% [3, 12] |
"""
TRANSLATED = """# 页
90% 的时候用 `--fast`：[更多](docs/more.md)。
## 然后
    make it    # 很快

```sh
rsft run bot.yaml  # 3 次
```

| 名字 | 比例 |
| --- | --- |
| `a` | 5.5% [3, 12] |
"""


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [
        ("code blocks", "make it", "make all"),
        ("code blocks", "run bot.yaml", "run bot.yaml --json"),
        ("code blocks", "```sh", "```text"),
        ("tables", "5.5%", "5.6%"),
        ("tables", "`a`", "`b`"),
        ("tables", "| 5.5%", "| 0 | 5.5%"),
        ("numbers", "90%", "91%"),
        ("numbers", "90%", "90"),
        ("numbers", "# 3", "# 4"),
        ("code within lines", "--fast", "--slow"),
        ("links", "docs/more", "docs/less"),
    ],
)
def test_a_change_of_one_page_alone_is_found(what: str, old: str, new: str) -> None:
    ours = sections("README.md", PAGE)
    assert differences(what, ours, sections("README.zh.md", TRANSLATED)) == []
    assert TRANSLATED.replace(old, new) != TRANSLATED
    assert differences(what, ours, sections("README.zh.md", TRANSLATED.replace(old, new)))


def test_a_number_of_points_in_chinese_is_a_per_cent_in_english() -> None:
    assert list(numbers("+90.0% of 1,500, n = 3-4")) == list(numbers("提升+90.0 个百分点，1,500 次，n = 3-4"))
