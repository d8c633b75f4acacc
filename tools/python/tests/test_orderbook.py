from __future__ import annotations

import unittest
from decimal import Decimal
from random import Random

from market import Rows, chunk

from tickreel import BookState, OrderBook
from tickreel.schema import GAP, RESET, SET


def state(book: OrderBook) -> object:
    levels = book.bids.top(), book.asks.top()
    return levels, book.state, book.stale_since_ns, book.missing, book.ts_recv_ns


class Books(unittest.TestCase):
    def test_rows_do_what_the_format_says(self) -> None:
        book = OrderBook("x:Y")
        self.assertEqual(book.state, BookState.EMPTY)
        book.apply(chunk([[(SET, 0, 99, 1)], [(GAP, 0, 0, 3)]]))
        self.assertEqual((book.state, book.stale_since_ns, book.missing), (BookState.STALE, 101, 3))
        book.apply(chunk([[(GAP, 0, 0, 4)], [(GAP, 0, 0, 0)], [(GAP, 0, 0, 9)]]))
        self.assertEqual((book.stale_since_ns, book.missing), (101, 0))
        book.apply(chunk([[(RESET, 0, 0, 0), (SET, 0, 100, 2), (SET, 1, 101, 5), (SET, 0, 98, 7)]]))
        self.assertEqual((book.state, book.stale_since_ns), (BookState.LIVE, None))
        self.assertEqual(book.bids.top(), [(100, 2), (98, 7)])
        self.assertEqual((book.best_bid, book.best_ask), (Decimal("10.0"), Decimal("10.1")))
        self.assertEqual(book.mid, Decimal("10.05"))
        book.apply(chunk([[(SET, 0, 100, 0), (SET, 0, 97, 0)]]))
        self.assertEqual(book.bids.top(1), [(98, 7)])
        self.assertAlmostEqual(book.imbalance(), (7 - 5) / 12)
        self.assertEqual(book.ts_event_ns, 99)

    def test_a_finer_scale_keeps_every_value(self) -> None:
        book = OrderBook("x:Y")
        book.apply(chunk([[(RESET, 0, 0, 0), (SET, 0, 100, 2), (SET, 1, 101, 5)]]))
        book.apply(chunk([[(SET, 0, 10005, 250)]], price_scale=3, qty_scale=2))
        book.apply(chunk([[(SET, 1, 101, 0), (SET, 1, 102, 1)]]))
        bids = [(Decimal("10.005"), Decimal("2.5")), (Decimal("10"), Decimal("2"))]
        self.assertEqual(book.to_book().exact_bids, bids)
        self.assertEqual(book.to_book().exact_asks, [(Decimal("10.2"), Decimal("1"))])

    def test_other_instruments_are_passed_over(self) -> None:
        book = OrderBook("x:Z")
        book.apply(chunk([[(SET, 0, 100, 2)]]))
        self.assertEqual(book.bids.top(), [])

    def test_many_rows_at_once_are_the_same_as_one_by_one(self) -> None:
        random = Random(5)
        for _ in range(40):
            messages: Rows = []
            for _ in range(random.randrange(1, 120)):
                message = [
                    (SET, random.randrange(2), random.randrange(90, 110), random.randrange(3))
                    for _ in range(random.randrange(1, 6))
                ]
                if random.random() < 0.05:
                    message.insert(0, (RESET, 0, 0, 0))
                if random.random() < 0.05:
                    message.insert(random.randrange(len(message)), (GAP, 0, 0, random.randrange(3)))
                messages.append(message)
            at_once, one_by_one = OrderBook("x:Y"), OrderBook("x:Y")
            rows = chunk(messages)
            at_once.apply(rows)
            for index in range(rows.messages):
                one_by_one.apply_messages(rows, index, index + 1)
                one_by_one.bids.best()
            self.assertEqual(state(at_once), state(one_by_one))


if __name__ == "__main__":
    unittest.main()
