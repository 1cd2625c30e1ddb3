"""Put the page of a finished study into its page of the documentation, figures beside it.

    python -m benchmarks.paste_study OUT docs/studies/NAME.md [--leave-out marks.png]

What stands between `<!-- results -->` and `<!-- /results -->` is replaced by `OUT/page.md`, without
its title; paths of data and output in its command become those that the documentation uses. Leave
out pictures of images that may not be shared.
"""

import argparse
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

_BEGIN, _END = "<!-- results -->", "<!-- /results -->"
_PLACES = {"--data": "FOLDER", "--out": "OUT"}


def pasted(document: str, page: str, stem: str, left_out: Sequence[str] = ()) -> str:
    """Return a document with the page of a study in its place.

    Parameters
    ----------
    document
        Markdown with both marks.
    page
        The study's `page.md`.
    stem
        Of the document's file, which figures are named after.
    left_out
        Names of figures that are not shown.

    Raises
    ------
    ValueError
        If the document lacks a mark.
    """
    head, begin, rest = document.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    if not (begin and end):
        msg = f"the document has no {_BEGIN} and {_END}"
        raise ValueError(msg)
    body = page.partition("\n")[2].strip()
    for flag, place in _PLACES.items():
        body = re.sub(rf"{flag} (?!breast\b)\S+", f"{flag} {place}", body)
    for name in left_out:
        # The picture, and its caption below.
        body = re.sub(rf"!\[[^\]]*\]\(figures/{re.escape(name)}\)\n\n[^\n]*\n+", "", body)
    body = body.replace("](figures/", f"](figures/{stem}_")
    # They stand under a heading of the document.
    body = re.sub(r"^##", "###", body, flags=re.MULTILINE)
    return f"{head}{_BEGIN}\n\n{body}\n\n{_END}{tail}"


def main() -> None:
    """Paste one page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of the study")
    parser.add_argument("document", type=Path, help="page of docs/studies/")
    parser.add_argument("--leave-out", nargs="*", default=[], help="figures not to show")
    given = parser.parse_args()
    page = (given.out / "page.md").read_text(encoding="utf-8")
    text = pasted(
        given.document.read_text(encoding="utf-8"), page, given.document.stem, given.leave_out
    )
    figures = given.document.parent / "figures"
    figures.mkdir(exist_ok=True)
    for name in set(re.findall(r"\]\(figures/([^)]+)\)", page)) - set(given.leave_out):
        shutil.copyfile(given.out / "figures" / name, figures / f"{given.document.stem}_{name}")
    given.document.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
