"""The content hash against the definition, one row and one number at a time."""

from __future__ import annotations

import unittest
from random import Random
from unittest import mock

import numpy as np
from market import chunk
from test_columns import book_bytes

from tickreel import Chunk, Kind, hashing
from tickreel.columns import Texts, decode
from tickreel.hashing import ContentHash
from tickreel.schema import COLUMNS, NULL, Type

MASK = 2**64 - 1
K = hashing._K


def mix(a: int, b: int) -> int:
    product = (a & MASK) * (b & MASK)
    return product >> 64 ^ product & MASK


def mix_value(value: int, scale: int, kind: Type, k: int) -> int:
    if kind is Type.DECIMAL and value != NULL:
        wide = value * 10 ** (18 - scale)
        return mix(wide & MASK ^ k, (wide >> 64 & MASK ^ k) | 1)
    return mix(value & MASK ^ k, k | 1)


def mix_text(text: bytes, k: int) -> int:
    state = k ^ len(text)
    for start in range(0, len(text), 8):
        word = int.from_bytes(text[start : start + 8].ljust(8, b"\0"), "little")
        state = mix(state ^ word, k | 1)
    return state


def column_sum(total: int, mixed: int) -> int:
    rotated = (mixed << 17 | mixed >> 47) & MASK
    return (total ^ rotated) * K[13] & MASK


def plain_hash(rows: Chunk) -> int:
    """Of a book."""
    value = 0
    ends = rows.row_ends.tolist()
    for row in range(rows.rows):
        head = body = 0
        for number, column in enumerate(COLUMNS[rows.kind]):
            found = int(rows.ints(column.name)[row])
            mixed = mix_value(found, rows.scale(column.name), column.type, K[number])
            if column.per_message or number < 2:
                head = column_sum(head, mixed)
            else:
                body = column_sum(body, mixed)
        mark = K[15] if row + 1 in ends else K[14]
        value = (value * hashing._R + mix(body ^ mark, head | 1)) % (2**61 - 1)
    return value


class Hashes(unittest.TestCase):
    def test_the_worked_value_of_the_format(self) -> None:
        """The first column sum of `segment-trades-one-row`."""
        mixed = hashing._mix(np.array([1723118400000001000 ^ K[0]], np.uint64), np.uint64(K[0] | 1))
        self.assertEqual(int(mixed[0]), 0xD6C881F3853B5508)
        self.assertEqual(column_sum(0, int(mixed[0])), 0x478783E250416BA1)

    def test_columns_at_a_time_are_the_same_as_one_by_one(self) -> None:
        random = Random(3)
        messages = [
            [(0, random.randrange(2), random.randrange(-(2**62), 2**62), random.randrange(2**40))
             for _ in range(random.randrange(1, 5))]
            for _ in range(50)
        ]  # fmt: skip
        for rows in (chunk(messages, 3, 18), decode(0, "x:Y", Kind.BOOK, book_bytes())):
            hashed = ContentHash()
            hashed.update(rows)
            self.assertEqual(hashed.value, plain_hash(rows))

    def test_parts_give_the_same_as_the_whole(self) -> None:
        messages = [[(0, 0, price, 1)] for price in range(1, 30)]
        whole, parts = ContentHash(), ContentHash()
        with mock.patch.object(hashing, "_powers_known", np.ones(1, np.uint64)):
            whole.update(chunk(messages))
        parts.update(chunk(messages[:7]))
        parts.update(chunk(messages[7:], ts_ns=107))
        self.assertEqual((parts.value, parts.rows), (whole.value, 29))

    def test_rows_of_several_streams_are_told_apart(self) -> None:
        rows = hashing.row_hashes(chunk([[(0, 0, 7, 1)], [(0, 1, 8, 2)]]))
        key = hashing.stream_key("x:Y", Kind.BOOK)
        self.assertEqual(key, mix_text(b"x:Y book", K[11]) | 1)
        found = hashing.keyed(rows, key).tolist()
        self.assertEqual(found, [mix(row ^ key, K[12]) for row in rows.tolist()])

    def test_texts(self) -> None:
        texts = [b"", b"a", b"12345678", b"123456789", b"x" * 100, b"\0", b""]
        found = hashing._mix_texts(Texts.of(texts), K[5]).tolist()
        self.assertEqual(found, [mix_text(text, K[5]) for text in texts])
        self.assertEqual(hashing._mix_texts(Texts.of([b"", b""]), K[5]).tolist(), [K[5]] * 2)


if __name__ == "__main__":
    unittest.main()
