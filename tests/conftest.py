"""What holds for all tests: a failed one is named the moment it fails, and none silences others."""

from collections.abc import Iterator

import pytest

from wsi_specdec.progress import set_quiet


class _TellAtOnce:
    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._reporter.ensure_newline()
            self._reporter.write_line(f"FAILED {report.nodeid} ({report.when})", red=True)
            self._reporter.write_line(report.longreprtext[-2000:])


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    # The workers of pytest-xdist have no terminal of their own.
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_TellAtOnce(reporter), "tell_at_once")


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """Let no command that was told to be quiet silence the next test."""
    yield
    set_quiet(quiet=False)
