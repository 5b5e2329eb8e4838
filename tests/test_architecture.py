"""The house rules that a reader can check by reading imports: who may know what, and how large things may be."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import batcher

ROOT = Path(batcher.__file__).parent
STUBS = ROOT / "service" / "stubs"
PRODUCTION = sorted(path for path in ROOT.rglob("*.py") if STUBS not in path.parents)

PURE = (
    "bandwidth",
    "concurrency",
    "states",
    "policy",
    "model",
    "errors",
    "reference",
    "residence",
    "judgement",
    "options",
    "transcripts",
)
#: What reaches outside the process, or brings a loop along.
OUTSIDE = {
    "aiohttp", "aiosqlite", "anyio", "asyncio", "av", "concurrent", "fcntl", "filelock", "ftplib", "grpc", "http", "httpx",
    "io", "multiprocessing", "os", "pathlib", "platformdirs", "select", "shutil", "signal", "smtplib", "socket", "soniox",
    "sqlite3", "ssl", "structlog", "subprocess", "tempfile", "threading", "time", "urllib",
}  # fmt: skip


def name_of(path: Path) -> str:
    """Return a file's name below the package, without its ending: ``store/db``."""
    return path.relative_to(ROOT).with_suffix("").as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax of a file."""
    return ast.parse(path.read_text("utf-8"))


@cache
def imports(path: Path) -> frozenset[str]:
    """Return every module that a file imports anywhere, and for ``from a import b`` also ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def imported(path: Path, module: str) -> bool:
    """Tell whether a file imports a module or something in it."""
    return any(name == module or name.startswith(f"{module}.") for name in imports(path))


def importers(module: str) -> set[str]:
    """Return the production files that import a module."""
    return {name_of(path) for path in PRODUCTION if imported(path, module)}


def file_of(module: str) -> Path | None:
    """Return the file of one of our modules, None for what is not a module of ours."""
    if module.partition(".")[0] != "batcher":
        return None
    path = ROOT.joinpath(*module.split(".")[1:])
    candidates = [path.with_suffix(".py"), path / "__init__.py"]
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def needed(path: Path) -> set[Path]:
    """Return our files that importing this one loads, itself included."""
    found, open_ones = {path}, [path]
    while open_ones:
        for module in imports(open_ones.pop()):
            file = file_of(module)
            if file is not None and file not in found:
                found.add(file)
                open_ones.append(file)
    return found


def test_the_files_are_found() -> None:
    """Otherwise nothing below could fail."""
    assert len(PRODUCTION) > 70
    assert {"engine", "store/db", "service/grpc", "cli/run"} <= set(map(name_of, PRODUCTION))


def test_one_file_imports_aiosqlite() -> None:
    """Only the writing connection knows how it gets to its thread."""
    assert importers("aiosqlite") == {"store/db"}


def test_only_the_wire_imports_grpc() -> None:
    """The service's implementation and the emulator's face speak it; nobody else can tell."""
    wire = {name for name in map(name_of, PRODUCTION) if name.startswith(("service/grpc", "emulator/grpc_"))}
    assert importers("grpc") <= wire
    assert importers("grpc_tools") <= {"service/generate"}
    assert importers("batcher.service.stubs") <= wire | {"service/generate"}
    assert "service/grpc_errors" not in importers("grpc")  # its table is read by the simulated service too


@pytest.mark.parametrize("library", ["soniox", "httpx", "aiohttp"])
def test_only_the_wire_imports_the_rest_clients(library: str) -> None:
    """The service's implementation, and of them httpx the emulator's errands too (webhooks and downloads)."""
    wire = {name for name in map(name_of, PRODUCTION) if name.startswith(("service/rest", "emulator/rest_"))}
    assert importers(library) <= wire
    assert "service/rest_errors" not in importers(library)


def test_a_run_loads_the_library_of_its_own_api_only() -> None:
    """The other one costs time at every start, and may not even be wanted."""
    for module in ("rest", "grpc"):
        users = {name for name in importers(f"batcher.service.{module}") if not name.startswith("service/")}
        assert users == {"cli/connect"}
    at_the_top = {node for node in tree(ROOT / "cli" / "connect.py").body if isinstance(node, ast.ImportFrom)}
    assert not any(str(node.module).startswith(("batcher.service.rest", "batcher.service.grpc")) for node in at_the_top)


def test_sqlite_stays_in_the_store() -> None:
    """Outside it, only the command names the library: its errors when a table is opened, its version."""
    assert {name for name in importers("sqlite3") if not name.startswith("store/")} <= {"cli/session", "cli/checks"}


@pytest.mark.parametrize("name", PURE)
def test_what_knows_the_domain_reaches_nothing_outside(name: str) -> None:
    """Not itself, and nothing that it imports."""
    for path in needed(ROOT / f"{name}.py"):
        outside = {module.partition(".")[0] for module in imports(path)} & OUTSIDE
        assert not outside, f"{name} needs {name_of(path)}, which imports {sorted(outside)}"


@pytest.mark.parametrize("name", PURE)
def test_what_knows_the_domain_opens_nothing(name: str) -> None:
    """The functions that reach outside without an import are not called either."""
    calls = {
        node.func.id
        for node in ast.walk(tree(ROOT / f"{name}.py"))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "print", "input", "exec", "eval", "__import__"}


def test_asyncio_appears_only_where_a_library_forces_it() -> None:
    """Everything else is anyio: task groups, cancel scopes, bounded shields."""
    assert importers("asyncio") <= {"service/grpc", "store/db"}


def test_work_goes_to_threads_in_few_places() -> None:
    """One place for files; whisper has a worker of its own that shares no threads with an engine."""
    users = importers("anyio.to_thread") | importers("anyio.from_thread") | importers("concurrent")
    assert users == {"files/offload", "emulator/whisper"}


def test_only_the_engine_composes_the_stages() -> None:
    """Stages meet in the table; none knows another."""
    stages = {"scan", "examine", "ahead", "upload", "poll", "collect", "runner"}
    for stage in stages:
        others = importers(f"batcher.stages.{stage}") - {"engine"}
        assert others == set(), f"{others} import {stage}"
    assert {stage for stage in stages if imported(ROOT / "engine.py", f"batcher.stages.{stage}")} == stages


def test_the_table_knows_neither_stages_nor_service() -> None:
    """Imports go downwards: command, engine, stages, store, domain."""
    for path in PRODUCTION:
        if name_of(path).startswith("store/"):
            for upper in ("batcher.stages", "batcher.service", "batcher.engine", "batcher.cli", "batcher.emulator"):
                assert not imported(path, upper), f"{name_of(path)} imports {upper}"


def test_nothing_below_imports_the_command() -> None:
    """The library works without it."""
    users = {name for name in importers("batcher.cli") if not name.startswith("cli/")}
    assert users == {"__main__"}
    assert {name for name in importers("batcher.engine") if not name.startswith("cli/")} == set()


def test_a_night_needs_no_wall_clock_outside_its_module() -> None:
    """Time and chance come from one place; the emulator's and the command's durations are anyio's."""
    assert importers("time") | importers("secrets") <= {"clock"}
    assert importers("random") <= {"clock", "policy", "demo/make_recordings"}


def test_production_never_imports_tests_or_their_tools() -> None:
    """An installed batcher has none of them."""
    for module in ("tests", "pytest", "hypothesis", "blockbuster", "jiwer"):
        assert importers(module) == set(), module


def test_every_import_is_ours_or_declared() -> None:
    """Nothing is used that a fresh installation would not have."""
    project = (ROOT.parent / "pyproject.toml").read_text("utf-8").lower().replace("-", "_")
    distributions = {"google": "protobuf", "grpc": "grpcio", "grpc_tools": "grpcio_tools"}
    distributions |= {"pydantic_core": "pydantic", "numpy": "faster_whisper"}  # their own types come from these
    for path in PRODUCTION:
        for module in {name.partition(".")[0] for name in imports(path)} - {"batcher"} - sys.stdlib_module_names:
            assert f'"{distributions.get(module, module)}' in project, f"{name_of(path)} imports {module}"


@pytest.mark.parametrize("path", PRODUCTION, ids=name_of)
def test_no_module_is_too_long_to_read(path: Path) -> None:
    """400 lines at most."""
    assert len(path.read_text("utf-8").splitlines()) <= 400


def functions() -> Iterator[tuple[str, int]]:
    """Yield every function with its number of lines, its docstring not counted."""
    for path in PRODUCTION:
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield f"{name_of(path)}.{node.name}", lines_of(node)


def lines_of(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return a function's number of lines from its ``def`` on, without its docstring."""
    body = node.body
    first = body[0]
    doc = 0
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        doc = (first.end_lineno or first.lineno) - first.lineno + 1
    return (node.end_lineno or node.lineno) - node.lineno + 1 - doc


def test_functions_are_short() -> None:
    """Half of all at most 8 lines, nine in ten at most 30, none above 40."""
    sizes = sorted(size for _, size in functions())
    assert len(sizes) > 700
    assert sizes[len(sizes) // 2] <= 8
    assert sizes[len(sizes) * 9 // 10] <= 30
    assert [found for found in functions() if found[1] > 40] == []
