"""Write the reference pages."""

from tools.reference import FOLDER, pages

FOLDER.mkdir(parents=True, exist_ok=True)
wanted = pages()
for file in FOLDER.glob("*.md"):
    if file.name not in wanted:
        file.unlink()
for name, text in wanted.items():
    (FOLDER / name).write_text(text, encoding="utf-8")
