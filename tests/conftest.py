"""Fixtures that every test may use."""

from pathlib import Path

import pytest
import structlog
from _pytest.terminal import TerminalReporter


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio: grpc.aio and aiosqlite know no other loop."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _plain_log() -> None:
    """Log in plain text: a traceback that is drawn takes longer than the run that it comes out of."""
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[structlog.processors.add_log_level, plain])


#: Whole runs over real sockets, which mostly wait. They go first, so that nothing is left to wait for at the end.
LONG = ("whole_runs", "rest_limits", "demo", "benchmarks", "powercut", "shard_runs", "bandwidth_runs", "rest_runs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest modules first; the order is otherwise that of their names."""
    first = [Path(__file__).with_name(f"test_{name}.py") for name in LONG]
    items.sort(key=lambda item: first.index(item.path) if item.path in first else len(first))


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the figures that tests measured, whichever process ran them."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
