"""Sizes and times as people write them in settings."""

import re

_SIZES = {"": 1, "b": 1} | {
    f"{letter}{end}": base**power
    for power, letter in enumerate("kmgt", 1)
    for end, base in (("", 1000), ("b", 1000), ("ib", 1024))
}
MOST_BYTES = 2**60  #: what the table can add up
MOST_SECONDS = 10 * 365 * 86400.0
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_size(value: object) -> object:
    """Return bytes for ``"500MB"`` (powers of ten), ``"1GiB"`` (powers of two) or a plain number."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", value)
    if match is None or match[2].lower() not in _SIZES:
        raise ValueError("must be a size like 500MB, 1.5GiB or a number of bytes")
    size = float(match[1]) * _SIZES[match[2].lower()]
    if size > MOST_BYTES:
        raise ValueError("must be a size that a disk can have")
    return round(size)


def spell_size(size: int) -> str:
    """Return the shortest text that `parse_size` reads as `size`."""
    for letter, power in zip("TGMk", (4, 3, 2, 1), strict=True):
        for base, end in ((1000, "B"), (1024, "iB")):
            if size and size % base**power == 0:
                return f"{size // base**power}{letter.upper() if end == 'iB' else letter}{end}"
    return str(size)


def parse_duration(value: object) -> object:
    """Return seconds for ``"5h"``, ``"1h30m"``, ``"90s"`` or a plain number."""
    if not isinstance(value, str):
        return value
    text = value.replace(" ", "").lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not re.fullmatch(r"(\d+(\.\d+)?[smhd])+", text):
        raise ValueError("must be a time like 5h, 1h30m, 90s or a number of seconds")
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"([\d.]+)([smhd])", text))


def spell_duration(seconds: float) -> str:
    """Return the shortest text that `parse_duration` reads as `seconds`."""
    for unit in "hm":
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:g}{unit}"
    return f"{seconds:g}s"
