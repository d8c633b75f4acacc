"""The content hash of rows, as `format-spec/01-conventions.md` defines it: equal rows give equal
numbers, however they are stored and sent. Whole columns at a time.
"""

from __future__ import annotations

from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .columns import Chunk, Texts
from .schema import COLUMNS, GROUPED, NULL, Kind, Type

Words: TypeAlias = npt.NDArray[np.uint64]

_P = 2**61 - 1
_R = 0x0B0A9D7C3F1E5261
_K = (
    0x6A09E667F3BCC909, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    0xCBBB9D5DC1059ED9, 0x629A292A367CD507, 0x9159015A3070DD17, 0x152FECD8F70E5939,
    0x67332667FFC00B31, 0x8EB44A8768581511, 0xDB0C2E0D64F98FA7, 0x47B5481DBEFA4FA5,
)  # fmt: skip
_HALF = np.uint64(0xFFFFFFFF)
_SCALE_MAX = 18


class ContentHash:
    """The running hash of the rows of one stream."""

    def __init__(self) -> None:
        self.value = 0
        self.rows = 0

    def update(self, chunk: Chunk) -> None:
        """Adds the messages of a chunk."""
        self.update_rows(row_hashes(chunk))

    def update_rows(self, hashes: Words) -> None:
        """Adds rows by their hashes, in their order."""
        rows = len(hashes)
        if not rows:
            return
        weighted = _mul_mod(_reduce(hashes), _powers(rows)[::-1])
        # Halves are summed apart: a sum of whole numbers would not fit.
        low, high = int((weighted & _HALF).sum()), int((weighted >> np.uint64(32)).sum())
        before = self.value * pow(_R, rows, _P)
        self.value = (before + low + (high << 32)) % _P
        self.rows += rows

    def then(self, other: ContentHash) -> None:
        """Adds the rows of another hash."""
        self.value = (self.value * pow(_R, other.rows, _P) + other.value) % _P
        self.rows += other.rows


def row_hashes(chunk: Chunk) -> Words:
    """The hash of each row of a chunk."""
    if not chunk.rows:
        return np.zeros(0, dtype=np.uint64)
    grouped = chunk.kind in GROUPED
    heads = np.zeros(chunk.messages if grouped else 0, dtype=np.uint64)
    bodies = np.zeros(chunk.rows, dtype=np.uint64)
    for number, column in enumerate(COLUMNS[chunk.kind]):
        values = chunk.values[column.name]
        key = _K[number]
        if column.type is Type.TEXT:
            mixed = _mix_texts(values.texts, key)
        elif column.type is Type.DECIMAL:
            mixed = _mix_decimals(values.ints, values.scale, key)
        else:
            mixed = _mix(values.ints.view(np.uint64) ^ np.uint64(key), np.uint64(key | 1))
        by_message = grouped and (column.per_message or number < 2)
        sums = heads if by_message else bodies
        sums ^= (mixed << np.uint64(17)) | (mixed >> np.uint64(47))
        sums *= np.uint64(_K[13])
    if not grouped:
        return bodies
    marks = np.full(chunk.rows, _K[14], dtype=np.uint64)
    marks[chunk.row_ends - 1] = _K[15]
    counts = np.diff(chunk.row_ends, prepend=0)
    return _mix(bodies ^ marks, np.repeat(heads, counts) | np.uint64(1))


@cache
def stream_key(instrument: str, kind: Kind) -> int:
    """What tells rows of a stream from those of others, in one hash of several."""
    mixed = _mix_texts(Texts.of([f"{instrument} {kind}".encode()]), _K[11])
    return int(mixed[0]) | 1


def keyed(hashes: Words, key: int) -> Words:
    """Hashes of rows of a stream, for a hash of several streams."""
    return _mix(hashes ^ np.uint64(key), np.uint64(_K[12]))


def _wide(a: Words, b: Words | np.uint64) -> tuple[Words, Words]:
    """High and low half of the product."""
    half = np.uint64(32)
    a_low, a_high, b_low, b_high = a & _HALF, a >> half, b & _HALF, b >> half
    low, one, two = a_low * b_low, a_low * b_high, a_high * b_low
    carry = (low >> half) + (one & _HALF) + (two & _HALF)
    high = a_high * b_high + (one >> half) + (two >> half) + (carry >> half)
    return high, low + ((one + two) << half)


def _mix(a: Words, b: Words | np.uint64) -> Words:
    high, low = _wide(a, b)
    return high ^ low


def _mix_decimals(mantissas: npt.NDArray[np.int64], scale: int, key: int) -> Words:
    unit = 10 ** (_SCALE_MAX - scale)
    words = mantissas.view(np.uint64)
    high, low = _wide(words, np.uint64(unit))
    # The product was of unsigned numbers; a negative one is 2^64 less.
    high = high - np.where(mantissas < 0, np.uint64(unit), np.uint64(0))
    k = np.uint64(key)
    mixed = _mix(low ^ k, (high ^ k) | np.uint64(1))
    missing = _mix(words ^ k, np.uint64(key | 1))
    return np.where(mantissas == NULL, missing, mixed)


def _mix_texts(texts: Texts, key: int) -> Words:
    lengths = np.diff(texts.ends, prepend=0)
    sums = np.uint64(key) ^ lengths.astype(np.uint64)
    # The longest text says how often: each turn takes the next eight bytes of those that have them.
    for start in range(0, int(lengths.max(initial=0)), 8):
        has = np.flatnonzero(lengths > start)
        words = _words(texts, has, lengths[has], start)
        sums[has] = _mix(sums[has] ^ words, np.uint64(key | 1))
    return sums


def _words(
    texts: Texts, rows: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], start: int
) -> Words:
    """Eight bytes of each text from `start` on, filled up with zeros."""
    places = (texts.ends[rows] - lengths + start)[:, None] + np.arange(8)
    blob = np.frombuffer(texts.blob, dtype=np.uint8)
    inside = np.arange(8) < (lengths - start)[:, None]
    found = np.where(inside, blob[np.minimum(places, len(blob) - 1)], np.uint8(0))
    return np.ascontiguousarray(found).view("<u8").reshape(-1)


def _reduce(words: Words) -> Words:
    """Modulo P."""
    p = np.uint64(_P)
    folded = (words & p) + (words >> np.uint64(61))
    return np.where(folded >= p, folded - p, folded)


def _mul_mod(a: Words, b: Words) -> Words:
    """The product of numbers below P, modulo P."""
    high, low = _wide(a, b)
    p = np.uint64(_P)
    return _reduce((low & p) + ((low >> np.uint64(61)) | (high << np.uint64(3))))


_powers_known: Words = np.ones(1, dtype=np.uint64)


def _powers(count: int) -> Words:
    """R^0 to R^(count - 1), modulo P."""
    global _powers_known  # noqa: PLW0603 (they are the same for ever)
    while len(_powers_known) < count:
        step = np.uint64(pow(_R, len(_powers_known), _P))
        more = _mul_mod(_powers_known, np.full_like(_powers_known, step))
        _powers_known = np.concatenate((_powers_known, more))
    return _powers_known[:count]
