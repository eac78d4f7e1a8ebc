"""Write the reference pages."""

from tools.reference import DOCS, pages

wanted = pages()
(DOCS / "reference").mkdir(parents=True, exist_ok=True)
for file in set((DOCS / "reference").iterdir()) - wanted.keys():
    file.unlink()
for file, text in wanted.items():
    file.write_text(text, encoding="utf-8")
