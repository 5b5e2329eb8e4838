"""The settings: where they come from, which counts more, and what is said about wrong ones."""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from batcher.bandwidth import Timetable
from batcher.cli import run as run_module
from batcher.cli.connect import address, webhook
from batcher.cli.example import example
from batcher.cli.key import find_key, require_key
from batcher.cli.place import locate
from batcher.cli.settings import given, read_settings
from batcher.concurrency import MOST
from batcher.config import Settings
from batcher.errors import AccountRefused, BatcherError, UsageError
from batcher.model import Limits
from batcher.options import Options
from batcher.quantities import parse_duration, parse_size, spell_duration, spell_size
from batcher.service.grpc_channel import DEFAULT_HOST
from batcher.service.rest_http import HOSTS

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in list(os.environ):
        if name.startswith(("BATCHER_", "SONIOX_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")


def write(folder: Path, text: str) -> Path:
    """Write a configuration file."""
    path = folder / "batcher.toml"
    path.write_text(text, "utf-8")
    return path


def complaint(file: Path | None = None, **flags: object) -> BatcherError:
    """Return what is said about wrong settings."""
    with pytest.raises(UsageError) as caught:
        read_settings(file, flags).plan()
    return caught.value


def test_a_flag_counts_more_than_the_environment_and_that_more_than_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source is heard where no higher one speaks."""
    file = write(tmp_path, "max_pending = 1\nmax_stored = 1\nupload_concurrency = 1\n")
    monkeypatch.setenv("BATCHER_MAX_PENDING", "2")
    monkeypatch.setenv("BATCHER_MAX_STORED", "2")
    settings = read_settings(file, {"max_pending": "3"})
    assert (settings.max_pending, settings.max_stored, settings.upload_concurrency) == (3, 2, 1)
    assert settings.max_file_size is None


def test_transcription_options_of_file_and_environment_are_merged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable for one option does not hide the others of the file."""
    file = write(tmp_path, 'api = "grpc"\n[transcription]\ndictation = true\nprofanity_filter = true\n')
    monkeypatch.setenv("BATCHER_TRANSCRIPTION__PROFANITY_FILTER", "false")
    monkeypatch.setenv("BATCHER_TRANSCRIPTION__SEPARATE_CHANNELS", "true")
    assert read_settings(file, {}).plan().options == Options(dictation=True, separate_channels=True)


def test_tables_within_the_transcription_options_are_merged_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One variable for one key of a translation leaves the rest of it as the file has it."""
    text = '[transcription.translation]\ntype = "one_way"\ntarget_language = "de"\n'
    monkeypatch.setenv("BATCHER_TRANSCRIPTION__TRANSLATION__TARGET_LANGUAGE", "fr")
    translation = read_settings(write(tmp_path, text), {}).plan().options.translation
    assert (translation.type, translation.target_language) == ("one_way", "fr")


@pytest.mark.parametrize(
    ("flags", "bounds"),
    [
        ({}, 1 << 30),
        ({"api": "grpc"}, 500_000_000),
        ({"max_file_size": "10MB"}, 10_000_000),
        ({"max_bytes": "10MB"}, 10_000_000),
        ({"api": "grpc", "max_bytes": "10MB"}, 500_000_000),
    ],
)
def test_a_recording_may_be_as_large_as_the_api_and_the_account_allow(flags: dict[str, object], bounds: int) -> None:
    """One that is larger than all files together may be would never be sent, and be waited for for ever."""
    assert read_settings(None, flags).bounds().bytes == bounds


def test_only_rest_limits_files_and_bytes() -> None:
    """The legacy API's stored files are all there is to count."""
    rest, grpc = read_settings(None, {}), read_settings(None, {"api": "grpc"})
    assert rest.limits() == Limits(100, 2000, 1000, 10_000_000_000)
    assert grpc.limits() == Limits(100, 2000)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"api": "grpc", "region": "eu"}, "region us only"),
        ({"api": "grpc", "webhook_url": "https://a.example/"}, "no webhooks"),
        ({"api": "grpc", "model": "stt-async-v5"}, "not one of the gRPC API's models"),
        ({"api": "rest", "model": "en_v2"}, "not one of the REST API's models"),
        ({"api": "rest", "transcription": {"dictation": True}}, "the REST API has no dictation"),
        ({"api": "grpc", "transcription": {"language_hints": ["de"]}}, "the gRPC API has no language_hints"),
    ],
)
def test_what_an_api_does_not_have_is_refused_before_anything_is_sent(flags: dict[str, object], words: str) -> None:
    """Instead of being left out silently."""
    with pytest.raises(UsageError) as caught:
        read_settings(None, flags).plan()
    assert words in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("flags", "where"),
    [
        ({}, "https://api.soniox.com"),
        ({"region": "eu"}, "https://api.eu.soniox.com"),
        ({"region": "jp"}, "https://api.jp.soniox.com"),
        ({"region": "jp", "host": "https://a.example:1"}, "https://a.example:1"),
        ({"api": "grpc"}, DEFAULT_HOST),
    ],
)
def test_the_region_names_the_host_unless_one_is_given(flags: dict[str, object], where: str) -> None:
    """A key works in the region of its project only."""
    assert address(read_settings(None, flags)) == where


def test_a_webhook_takes_its_secret_from_the_environment_or_a_private_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like the key: never from the command line, never shown."""
    settings = read_settings(None, {"webhook_url": "https://a.example/", "webhook_header": "X-Secret"})
    with pytest.raises(UsageError, match="no value for that header") as caught:
        webhook(settings)
    assert "SONIOX_API_WEBHOOK_SECRET" in caught.value.hint
    monkeypatch.setenv("SONIOX_API_WEBHOOK_SECRET", "sesame")
    assert webhook(settings).header_value.get_secret_value() == "sesame"
    assert "sesame" not in repr(webhook(settings))
    monkeypatch.delenv("SONIOX_API_WEBHOOK_SECRET")
    file = tmp_path / "secret"
    file.write_text("from-a-file\n")
    file.chmod(0o600)
    given = {"webhook_url": "https://a.example/", "webhook_header": "X-Secret", "webhook_secret_file": str(file)}
    assert webhook(read_settings(None, given)).header_value.get_secret_value() == "from-a-file"
    with pytest.raises(UsageError, match="header needs a name, a value and a URL"):
        webhook(read_settings(None, given | {"webhook_url": ""}))


def test_the_model_of_the_top_level_goes_first(tmp_path: Path) -> None:
    """It is the one with a flag; the table's own is heard without it."""
    file = write(tmp_path, '[transcription]\nmodel = "ko_v2"\n')
    assert read_settings(file, {}).options().model == "ko_v2"
    assert read_settings(file, {"model": "en_v2"}).options().model == "en_v2"


def test_lists_may_be_one_text_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """As flags and variables have them; a format named twice is written once."""
    monkeypatch.setenv("BATCHER_EXCLUDE", "old/**, *.tmp.wav")
    settings = read_settings(None, {"format": "srt, txt,srt"})
    assert settings.format == ("srt", "txt")
    assert settings.exclude == ("old/**", "*.tmp.wav")


def test_flags_that_were_not_given_are_no_settings() -> None:
    """Formats may stand in several texts; parameters that are no settings are left out."""
    values = {"format": ["txt,srt", "vtt"], "model": None, "include": [], "out": Path("x"), "max_pending": "5"}
    assert given(values) == {"format": "txt,srt,vtt", "max_pending": "5"}


@pytest.mark.parametrize(
    ("text", "nearest", "other"),
    [
        ("max_pendign = 1", "max_pending", "settle"),
        ("[transcription]\nseparate_channel = 1", "separate_channels", "model"),
    ],
)
def test_an_unknown_key_names_the_valid_ones_the_nearest_first(
    text: str, nearest: str, other: str, tmp_path: Path
) -> None:
    """At both levels, and the file is named."""
    error = complaint(write(tmp_path, text))
    assert "unknown key" in str(error)
    assert "batcher.toml" in str(error)
    assert f"the nearest first: {nearest}," in error.hint
    assert other in error.hint


def test_a_key_in_the_configuration_is_not_repeated_and_its_place_is_named(tmp_path: Path) -> None:
    """Whoever writes the API key into the file is told where it belongs."""
    error = complaint(write(tmp_path, 'api_key = "sesame"'))
    assert "SONIOX_API_KEY" in error.hint
    assert "sesame" not in str(error) + error.hint


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"max_pending": "0"}, "max_pending (from --max-pending): must be at least 1"),
        ({"max_file_size": "5 XB"}, "max_file_size (from --max-file-size): must be a size like 500MB"),
        ({"max_duration": "soon"}, "max_duration (from --max-duration): must be a time like 5h"),
        ({"progress": "loud"}, "progress (from --progress): must be 'auto', 'bar', 'plain', 'json' or 'none'"),
        ({"api": "soap"}, "api (from --api): must be 'rest' or 'grpc'"),
        ({"region": "de"}, "region (from --region): must be 'us', 'eu' or 'jp'"),
        ({"max_bytes": "much"}, "max_bytes (from --max-bytes): must be a size like 500MB"),
        ({"requests_per_minute": "-1"}, "requests_per_minute (from --requests-per-minute): must be at least 0"),
        ({"format": "docx"}, "format (from --format): 'docx' is no format; the formats are txt, json, srt, vtt"),
        ({"format": ","}, "format (from --format): names no format"),
        ({"settle": "-1"}, "settle (from --settle): must be"),
        ({"api": "grpc", "model": "en_v9"}, "model 'en_v9' is not one of"),
    ],
)
def test_a_wrong_value_names_its_key_its_place_and_what_is_allowed(flags: dict[str, object], words: str) -> None:
    """One line tells what to mend."""
    assert words in str(complaint(None, **flags))


def test_a_list_that_a_variable_spells_wrongly_is_named_with_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no other variable is."""
    monkeypatch.setenv("BATCHER_TRANSCRIPTION__DICTATION", "yes")
    monkeypatch.setenv("BATCHER_TRANSCRIPTION__LANGUAGE_HINTS", "de")
    error = complaint(None)
    assert str(error) == "BATCHER_TRANSCRIPTION__LANGUAGE_HINTS cannot be read: it must be JSON"
    assert """BATCHER_TRANSCRIPTION__LANGUAGE_HINTS='["de", "fr"]'""" in error.hint


def test_a_wrong_variable_and_a_wrong_key_of_the_file_are_named_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it is looked for in the right place."""
    file = write(tmp_path, "max_stored = 0\n[transcription]\nmin_speakers = 2\n")
    assert "max_stored (in " in str(complaint(file))
    monkeypatch.setenv("BATCHER_MAX_STORED", "x")
    assert "max_stored (from BATCHER_MAX_STORED): must be a valid integer" in str(complaint(file))
    monkeypatch.setenv("BATCHER_MAX_STORED", "7")
    assert "need speaker_diarization" in str(complaint(file))


def test_what_is_no_toml_or_not_there_is_said(tmp_path: Path) -> None:
    """With the file's name."""
    assert "is not TOML" in str(complaint(write(tmp_path, "max_pending 3")))
    assert "cannot be read" in str(complaint(tmp_path / "missing.toml"))


@pytest.mark.parametrize(
    ("text", "size"), [("500MB", 500_000_000), ("1GiB", 1 << 30), ("1.5kB", 1500), ("7", 7), ("64 MiB", 64 << 20)]
)
def test_sizes_are_read_in_powers_of_ten_and_of_two(text: str, size: int) -> None:
    """And what is spelled can be read again."""
    assert parse_size(text) == size
    assert parse_size(spell_size(size)) == size


@pytest.mark.parametrize(("text", "seconds"), [("5h", 18000), ("1h30m", 5400), ("90s", 90), ("2.5", 2.5), ("15m", 900)])
def test_times_are_read_with_units(text: str, seconds: float) -> None:
    """And what is spelled can be read again."""
    assert parse_duration(text) == seconds
    assert parse_duration(spell_duration(seconds)) == seconds


def uncommented() -> dict[str, object]:
    """Return the example as it is with every key taken into use."""
    lines = example().splitlines()
    keys = [line.removeprefix("# ") for line in lines if not line.startswith(("##", "#\n")) and " = " in line]
    table = next(number for number, key in enumerate(keys) if key.startswith("speech_context ="))
    return tomllib.loads("\n".join([*keys[:table], "[transcription]", *keys[table:]]))


def test_the_example_is_what_init_writes() -> None:
    """`batcher init -` refreshes it."""
    assert (ROOT / "config.example.toml").read_text("utf-8") == example()


def test_the_example_names_every_key_with_its_default(tmp_path: Path) -> None:
    """As it is, and with every key taken into use, it means the defaults."""
    assert read_settings(write(tmp_path, example()), {}) == Settings()
    keys = uncommented()
    assert set(keys) == set(Settings.model_fields)
    assert set(keys["transcription"]) == set(Options.model_fields) - {"model"}  # type: ignore[call-overload]
    text = "\n".join(line.removeprefix("# ") if " = " in line else line for line in example().splitlines())
    assert read_settings(write(tmp_path, text), {}) == Settings()


def test_the_host_named_in_the_description_is_the_one_that_is_used() -> None:
    """The description of `host` cannot fall behind."""
    assert HOSTS["us"] in str(Settings.model_fields["host"].description)


def test_the_key_of_the_environment_goes_before_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks and line ends around it are dropped, and it shows in no representation."""
    file = tmp_path / "key"
    file.write_text("from-the-file\n")
    file.chmod(0o600)
    assert require_key(file).value == "from-the-file"
    monkeypatch.setenv("SONIOX_API_KEY", " from-the-environment\n")
    key = require_key(file)
    assert key.value == "from-the-environment"
    assert "from-the-environment" not in repr(key)


def test_a_key_file_that_others_can_read_is_refused_with_the_chmod_to_type(tmp_path: Path) -> None:
    """So is an empty one, and one that is not there."""
    file = tmp_path / "key"
    file.write_text("sesame")
    file.chmod(0o640)
    with pytest.raises(UsageError) as caught:
        find_key(file)
    assert caught.value.hint == f"Type `chmod 600 {file}`."
    file.write_text(" \n")
    file.chmod(0o600)
    with pytest.raises(UsageError, match="is empty"):
        find_key(file)
    with pytest.raises(UsageError, match="cannot be read"):
        find_key(tmp_path / "missing")


def test_without_any_key_the_account_is_refused() -> None:
    """With the line to type."""
    assert find_key(None) is None
    with pytest.raises(AccountRefused) as caught:
        require_key(None)
    assert "export SONIOX_API_KEY" in caught.value.hint


def test_a_table_elsewhere_is_found_by_flag_environment_or_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this order; otherwise it is in OUT."""
    out = tmp_path / "out"
    assert locate(out, None).db == out / ".batcher" / "jobs.sqlite3"
    file = write(tmp_path, 'db = "/a.db"')
    assert locate(out, None, file).db == Path("/a.db")
    monkeypatch.setenv("BATCHER_DB", "/b.db")
    assert locate(out, None, file).db == Path("/b.db")
    assert locate(out, Path("/c.db"), file).db == Path("/c.db")


def test_every_setting_is_an_option_of_run_with_the_settings_own_description() -> None:
    """One place says what a setting means; `--help`, the file and the errors repeat it."""
    options = {parameter.name: parameter for parameter in typer.main.get_command(_alone(run_module.command)).params}
    for name, field in Settings.model_fields.items():
        if name != "transcription":
            assert str(field.description) in str(getattr(options[name], "help", ""))


def _alone(function: Callable[..., None]) -> typer.Typer:
    app = typer.Typer()
    app.command()(function)
    return app


def test_the_limit_of_bandwidth_is_read_from_every_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timetable with quotes, a plain number without; empty is none."""
    assert read_settings(None, {}).plan().bandwidth == Timetable()
    assert read_settings(write(tmp_path, "bwlimit = 2_000_000\n"), {}).plan().bandwidth == Timetable(((0, 2_000_000),))
    monkeypatch.setenv("BATCHER_BWLIMIT", "08:00,512k 23:00,off")
    assert read_settings(None, {}).plan().bandwidth == Timetable(((28_800, 512_000), (82_800, None)))
    assert read_settings(None, {"bwlimit": ""}).plan().bandwidth == Timetable()
    assert "bwlimit (from --bwlimit): must be at least 8k a second" in str(complaint(bwlimit="512"))


def test_the_number_of_uploads_is_found_out_unless_it_is_given(tmp_path: Path) -> None:
    """The word is what the file shows; what is neither a number nor the word is told."""
    assert read_settings(None, {}).plan().most_uploads == MOST
    assert read_settings(write(tmp_path, 'upload_concurrency = "auto"\n'), {}).plan().most_uploads == MOST
    assert read_settings(None, {"upload_concurrency": "3"}).plan().most_uploads == 3
    assert "must be a number like 8, or auto" in str(complaint(upload_concurrency="many"))
    assert "must be at most 200" in str(complaint(upload_concurrency="201"))
