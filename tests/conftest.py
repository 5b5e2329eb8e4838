"""Fixtures that every test may use."""

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Run async tests on asyncio: grpc.aio and aiosqlite know no other loop."""
    return "asyncio"
