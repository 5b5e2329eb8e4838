"""Which part of the usage log a client asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from batcher.emulator import rest_refusals as refuse
from batcher.emulator.knobs import Order
from batcher.emulator.rest_refusals import Invalid

DAY_MS = 86_400_000
LONGEST_MS = 31 * DAY_MS  #: of a window, by the documentation
OLDEST_MS = 91 * DAY_MS  #: how long ago a window may begin, by the documentation

_SORTS = {"end_time_asc": Order.OLDEST, "end_time_desc": Order.NEWEST}


@dataclass(frozen=True, slots=True)
class Period:
    """A window of time, UTC milliseconds, its end excluded, and the order in which it is listed."""

    start: int
    end: int
    order: Order


def period(query: Mapping[str, str], now: int) -> Period:
    """Read the parameters of the usage log. Raises RestRefusal."""
    start, end = _time(query, "start_time"), _time(query, "end_time")
    sort = query.get("sort", "end_time_asc")
    if sort not in _SORTS:
        raise refuse.invalid(Invalid("query.sort", f"Must be one of {', '.join(_SORTS)}.", "enum"))
    if not start < end <= start + LONGEST_MS:
        raise refuse.invalid(Invalid("query.end_time", "Must be after start_time, by 31 days at most."))
    if start < now - OLDEST_MS:
        raise refuse.invalid(Invalid("query.start_time", "Must not be more than 91 days ago."))
    return Period(start, end, _SORTS[sort])


def _time(query: Mapping[str, str], name: str) -> int:
    if name not in query:
        raise refuse.invalid(Invalid(f"query.{name}", "Field required", "missing"))
    try:
        time = datetime.fromisoformat(query[name])
    except ValueError as error:
        raise refuse.invalid(Invalid(f"query.{name}", "Must be a time in ISO 8601.", "datetime_parsing")) from error
    return round((time if time.tzinfo is not None else time.replace(tzinfo=UTC)).timestamp() * 1000)
