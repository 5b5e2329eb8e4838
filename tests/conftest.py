"""Fixtures that every test may use."""

import pytest
from _pytest.terminal import TerminalReporter


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio: grpc.aio and aiosqlite know no other loop."""
    return "asyncio"


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the figures that tests measured, whichever process ran them."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
