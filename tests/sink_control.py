"""What a sink asks of the daemon, without a daemon."""

from __future__ import annotations

from typing import Any

from earmark.engine.household import Household
from earmark.engine.sinks.base import Notice
from earmark.engine.sinks.stats import Stats


class SinkControl:
    """Answers a wake service, and keeps what was published."""

    def __init__(self, household: Household, journal: bool = False) -> None:
        self.household, self.stats, self.journal = household, Stats(), journal
        self.notices: list[Notice] = []

    def publish(self, notice: Notice) -> None:
        self.notices.append(notice)

    def change(self, key: str, value: str, here: bool = False) -> None:  # noqa: ARG002
        raise AssertionError(f"a wake service changes no settings: {key}={value}")

    def status(self) -> dict[str, Any]:
        return {}
