"""Times and durations as integer nanoseconds, without loss.

A time is nanoseconds since 1970-01-01T00:00:00Z. Floats are refused everywhere: a double cannot
hold the nanoseconds of today.
"""

from __future__ import annotations

import operator
import re
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

from .errors import InvalidArgument

Time: TypeAlias = "int | str | datetime | date | np.datetime64 | np.integer | pd.Timestamp"
"""What a time may be given as: integer nanoseconds, ISO text, a datetime (without a zone: UTC), a
date (its beginning in UTC), a NumPy or a pandas time."""

Duration: TypeAlias = "int | str | timedelta | np.timedelta64 | np.integer | pd.Timedelta"
"""What a duration may be given as: integer nanoseconds, text such as ``250ms``, ``1.5s``, ``5m`` or
``1h``, a timedelta, a NumPy or a pandas one."""

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64_MAX = 2**63 - 1
_UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": SECOND_NS, "m": 60 * SECOND_NS,
             "h": 3600 * SECOND_NS, "d": DAY_NS}  # fmt: skip
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d+))?)?\s*(Z|z|[+-]\d\d(?::?\d\d)?)?)?"
)
_DURATION = re.compile(r"(\d+)(?:\.(\d+))?\s*([a-z]+)")


def to_ns(time: Time) -> int:
    """Nanoseconds since 1970 of any kind of time.

    Raises:
        InvalidArgument: it is no time, or one that 64 bits cannot hold.

    """
    if isinstance(time, str):
        ns = _text_ns(time.strip())
    elif isinstance(time, np.datetime64):
        ns = _numpy_ns(time)
    elif hasattr(time, "asm8"):  # pandas, without importing it
        ns = _numpy_ns(time.asm8)
    elif isinstance(time, datetime):
        ns = _datetime_ns(time)
    elif isinstance(time, date):
        ns = (time.toordinal() - _EPOCH.toordinal()) * DAY_NS
    else:
        ns = _integer(time, "time")
    return _bounded(ns, time)


def to_duration_ns(duration: Duration) -> int:
    """Nanoseconds of any kind of duration.

    Raises:
        InvalidArgument: it is no duration, or one that 64 bits cannot hold.

    """
    if isinstance(duration, str):
        ns = _duration_text_ns(duration.strip())
    elif isinstance(duration, np.timedelta64):
        ns = _numpy_ns(duration)
    elif hasattr(duration, "asm8"):
        ns = _numpy_ns(duration.asm8)
    elif isinstance(duration, timedelta):
        ns = duration // timedelta(microseconds=1) * 1000
    else:
        ns = _integer(duration, "duration")
    return _bounded(ns, duration)


def to_datetime64(ns: int) -> np.datetime64:
    """The time as NumPy has it, with its nanoseconds."""
    return np.datetime64(ns, "ns")


def to_datetime(ns: int) -> datetime:
    """The time as Python has it, in UTC, cut to microseconds."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def to_text(ns: int | None) -> str:
    """RFC 3339 in UTC with nine decimals; nothing for None."""
    if ns is None:
        return ""
    seconds, rest = divmod(ns, SECOND_NS)
    second = _EPOCH + timedelta(seconds=seconds)
    return f"{second:%Y-%m-%dT%H:%M:%S}.{rest:09}Z"


def _integer(value: object, what: str) -> int:
    if isinstance(value, bool | float | np.floating):
        raise InvalidArgument(f"{what} {value!r}: use integer nanoseconds, text or a {what}")
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidArgument(f"{what} {value!r}: {type(value).__name__} is no {what}") from None


def _bounded(ns: int, given: object) -> int:
    if abs(ns) > _INT64_MAX:
        raise InvalidArgument(f"time {given!r}: beyond what 64 bits of nanoseconds can hold")
    return ns


def _numpy_ns(value: np.datetime64 | np.timedelta64) -> int:
    """NumPy wraps silently where a coarse unit does not fit: the way back tells."""
    if np.isnat(value):
        raise InvalidArgument("time NaT: no time")
    unit = f"{'m' if isinstance(value, np.timedelta64) else 'M'}8[ns]"
    exact = value.astype(unit)
    if exact.astype(value.dtype) != value:
        raise InvalidArgument(f"time {value!r}: beyond what 64 bits of nanoseconds can hold")
    return int(exact.astype(np.int64))


def _datetime_ns(time: datetime) -> int:
    aware = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
    return (aware - _EPOCH) // timedelta(microseconds=1) * 1000


def _fraction_ns(digits: str, text: str) -> int:
    if len(digits) > 9:
        raise InvalidArgument(f"time {text!r}: more than nine decimals of a second")
    return int(digits.ljust(9, "0"))


def _text_ns(text: str) -> int:
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    parts = _ISO.fullmatch(text)
    if parts is None:
        raise InvalidArgument(f"time {text!r}: expected e.g. 2024-08-08T23:57:00.5Z")
    day, minute, second, fraction, zone = parts.groups()
    try:
        whole = datetime.fromisoformat(f"{day}T{minute or '00:00'}:{second or '00'}{zone or ''}")
    except ValueError as error:
        raise InvalidArgument(f"time {text!r}: {error}") from None
    return _datetime_ns(whole) + _fraction_ns(fraction or "", text)


def _duration_text_ns(text: str) -> int:
    parts = _DURATION.fullmatch(text)
    unit = _UNITS_NS.get(parts[3]) if parts else None
    if parts is None or unit is None:
        raise InvalidArgument(f"duration {text!r}: expected e.g. 250ms, 1.5s, 5m, 1h")
    whole, fraction = parts[1], parts[2] or ""
    divisor: int = 10 ** len(fraction)
    ns, rest = divmod(int(whole + fraction) * unit, divisor)
    if rest:
        raise InvalidArgument(f"duration {text!r}: not a whole number of nanoseconds")
    return ns
