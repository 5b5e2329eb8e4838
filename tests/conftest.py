"""Fixtures that every test may use."""

import gc

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
    structlog.reset_defaults()
    structlog.configure(processors=[structlog.processors.add_log_level, plain])


#: Whole runs over real sockets, which mostly wait. They go first, so that nothing is left to wait for at the end…
WAITING = ("whole_runs", "rest_limits", "demo", "benchmarks", "belonging", "shard_runs", "powercut", "rest_runs")
#: … and each beside one that never waits, so that there is something to do meanwhile.
BUSY = ("nights", "engine", "concurrency", "engine_rest", "faults_service", "pages", "sharing", "faults_ends")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest modules first; the order is otherwise that of their names."""
    first = [f"test_{name}" for pair in zip(WAITING, BUSY, strict=True) for name in pair]
    items.sort(key=lambda item: first.index(item.path.stem) if item.path.stem in first else len(first))


def pytest_collection_finish() -> None:
    """Spare the collector what was imported: it stays anyway, and looking at it again and again takes its time."""
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Print the figures that tests measured, whichever process ran them."""
    for report in terminalreporter.stats.get("passed", []):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name}: {value}")
