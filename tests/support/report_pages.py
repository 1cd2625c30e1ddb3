"""HTML reports, parsed."""

from html.parser import HTMLParser

from fake_runs import FakeRun

from wsi_specdec.config import ReportConfig
from wsi_specdec.report import write_report

VOID = {"meta", "link", "img", "source", "br", "hr"}


class Page(HTMLParser):
    """What a report holds, with its tags checked for balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        """Visible text, spaces collapsed."""
        return " ".join("".join(self.words).split())

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of each element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]


def report_of(run: FakeRun, **settings: str | int) -> tuple[str, Page]:
    text = write_report(run.path, ReportConfig.model_validate(settings)).read_text(encoding="utf-8")
    return text, Page(text)
