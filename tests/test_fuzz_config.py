"""Whatever stands in a configuration file or in variables: settings, or a mistake that is told in plain words."""

import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batcher.cli.connect import check_connection
from batcher.cli.place import read_toml
from batcher.config import Settings, Sources
from batcher.errors import UsageError
from batcher.options import Options
from batcher.quantities import parse_duration, parse_size

SECRET = "k3y-of-somebody"
FEW = settings(max_examples=80, deadline=None)

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(max_value=1e300) | st.text(max_size=20)
    | st.sampled_from(["", "rest", "grpc", "us", "txt,json", "1GB", "1h30m", "1e999h", "http://[::1", "-1"])
    | st.sampled_from([10**30, -(10**30), date(2020, 1, 1), datetime(2020, 1, 1, tzinfo=UTC)])
)  # fmt: skip
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def tables(model: Any, below: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return tables most of whose keys are known."""
    known = sorted(set(model.model_fields) - {"transcription"})
    return st.dictionaries(st.sampled_from(known) | st.text(max_size=5), below, max_size=4)


files = st.tuples(tables(Settings, values), tables(Options, values)).map(
    lambda pair: pair[0] | ({"transcription": pair[1]} if pair[1] else {})
)


def mistake(work: Callable[[], object]) -> UsageError | None:
    """Return the mistake that some work ends with; nothing when it went well."""
    try:
        work()
    except UsageError as error:
        return error
    return None


def load(sources: Sources) -> None:
    """Load and plan; a mistake is told in words."""
    error = mistake(lambda: sources.load().plan())
    assert error is None or str(error)


@FEW
@given(files)
def test_any_table_is_settings_or_a_mistake(content: dict[str, Any]) -> None:
    """Nothing else comes out of reading one, however odd its values."""
    with patch.dict(os.environ, clear=True):
        load(Sources(file=content, file_name="c.toml"))


@FEW
@given(
    st.dictionaries(
        st.sampled_from(sorted(Settings.model_fields) + [f"transcription__{name}" for name in Options.model_fields])
        | st.sampled_from(["transcription", "transcription__", "__", "max_pending__x", "api_key"]),
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
        | st.sampled_from(["[1]", "{}", '{"a": 1}', "null", "NaN", "[" * 30]),
        max_size=3,
    )
)
def test_any_variables_are_settings_or_a_mistake(variables: dict[str, str]) -> None:
    """The same."""
    named = {f"BATCHER_{name.upper()}": value for name, value in variables.items()}
    with patch.dict(os.environ, named, clear=True):
        load(Sources())


@FEW
@given(st.binary(max_size=60) | st.text("[]{}\"'=.,#\n a1", max_size=60).map(str.encode))
def test_any_file_is_a_table_or_a_mistake(content: bytes) -> None:
    """Also one that is no TOML, no UTF-8, or nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.toml"
        path.write_bytes(content)
        error = mistake(lambda: read_toml(path))
    assert error is None or "c.toml" in str(error)


@FEW
@given(
    st.sampled_from(["api_key", "key", "soniox_api_key", "SONIOX_API_KEY", "webhook_secret", "password", "token"]),
    st.sampled_from([SECRET, [SECRET], {"a": SECRET}, {SECRET: 1}]),
    st.sampled_from([(), ("transcription",), ("transcription", "translation")]),
)
def test_a_secret_in_the_wrong_place_is_not_repeated(key: str, value: Any, place: tuple[str, ...]) -> None:
    """In a table, and as a variable."""
    content = {key: value}
    for table in reversed(place):
        content = {table: content}
    name = "__".join(["BATCHER", *place, key]).upper().replace("BATCHER__", "BATCHER_")
    for variables, file in (({}, content), ({name: SECRET}, {})):
        with patch.dict(os.environ, variables, clear=True):
            error = mistake(Sources(file=file, file_name="c.toml").load)
        assert error is not None
        assert SECRET not in f"{error} {error.hint} {error.__cause__} {error.__context__}"


@FEW
@given(st.text(max_size=30) | st.from_regex(r"\d{1,300}(\.\d+)? ?[a-zA-Z]{0,3}", fullmatch=True))
def test_sizes_and_times_are_numbers_or_mistakes(text: str) -> None:
    """Those that no number can hold, too."""
    for parse in (parse_size, parse_duration):
        with suppress(ValueError):
            assert isinstance(parse(text), int | float)


@pytest.mark.parametrize(
    "content",
    [
        {"max_bytes": "9" * 400 + "GB"},
        {"max_duration": 1e308},
        {"settle": 1e306},
        {"key_file": "~nobody-of-that-name/key"},
        {"ca_file": "a\0b"},
    ],
    ids=str,
)
def test_what_no_machine_can_mean_is_a_mistake(content: dict[str, Any]) -> None:
    """Found by the tests above, which leave it out until it is mended."""
    with patch.dict(os.environ, clear=True):
        settled = mistake(lambda: Sources(file=content, file_name="c.toml").load().plan())
        assert settled or mistake(lambda: check_connection(Sources(file=content).load()))


def test_brackets_in_brackets_in_a_variable_are_a_mistake() -> None:
    """A variable of a table is read as JSON."""
    with patch.dict(os.environ, {"BATCHER_TRANSCRIPTION": "[" * 10_000}, clear=True):
        assert mistake(Sources().load)
