"""What may be skipped where everything should run: with CI=1, only what tests/allowed_skips.toml lists."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LISTED = Path(__file__).with_name("allowed_skips.toml")


@dataclass(frozen=True)
class Allowed:
    """A skip that is no loss; `*` stands for anything in the first two."""

    test: str
    reason: str
    why: str

    def matches(self, test: str, reason: str) -> bool:
        return fnmatchcase(test, self.test) and fnmatchcase(reason, self.reason)


def read_allowed(file: Path = LISTED) -> list[Allowed]:
    """Raises TypeError where an entry has not these three keys."""
    return [Allowed(**entry) for entry in tomllib.loads(file.read_text("utf-8")).get("skip", [])]


def is_ci() -> bool:
    """Whether the environment says that nobody looks at what was skipped."""
    return os.environ.get("CI", "").strip().lower() not in ("", "0", "false")


class Judge:
    """A plug-in of pytest: the run fails where a test was skipped that is not on the list."""

    def __init__(self, allowed: list[Allowed]) -> None:
        self._allowed = allowed
        self._unexpected: dict[tuple[str, str], None] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._see(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A whole file that was skipped."""
        self._see(report)

    def _see(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = reason_of(report.longrepr)
        if not any(allowed.matches(report.nodeid, reason) for allowed in self._allowed):
            self._unexpected[report.nodeid, reason] = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._unexpected and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._unexpected:
            terminalreporter.section(f"CI: skipped, and not in {LISTED.name}", red=True, bold=True)
            for test, reason in self._unexpected:
                terminalreporter.line(f"{test}: {reason}")


def reason_of(longrepr: object) -> str:
    """pytest has it as (file, line, "Skipped: reason")."""
    text = str(longrepr[2] if isinstance(longrepr, tuple) else longrepr)
    return text[len("Skipped: ") :] if text.startswith("Skipped: ") else text


def watch(config: pytest.Config, allowed: list[Allowed] | None = None) -> None:
    """Begins to judge, where this is CI; under pytest-xdist in the process that gathers what the workers report."""
    if is_ci() and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Judge(read_allowed() if allowed is None else allowed), "judge of skips")
