"""Peers answer as we do, and where one does not, the table says so."""

import tempfile
import unittest
from pathlib import Path

import engines
import run
from market import describe

START = 1_723_161_000_000_000
PEERS = ["tickreel", "compacted", "duck", "parquet"]


def write_market(folder: Path, symbols: list[str], messages: int) -> None:
    """Books that change by one level per message, and a trade for every tenth of them."""
    head = "exchange,symbol,timestamp,local_timestamp"
    book, trades = [f"{head},is_snapshot,side,price,amount"], [f"{head},id,side,price,amount"]
    for level in range(1, 21):
        for symbol in symbols:
            for side, price in (("bid", 1000 - level), ("ask", 1000 + level)):
                book.append(f"deribit,{symbol},{START},{START},true,{side},{price}.5,{level}")
    book[1:] = sorted(book[1:], key=lambda row: row.split(",")[1])
    for message in range(1, messages + 1):
        symbol, ts = symbols[message % len(symbols)], START + message * 40_000
        side, off = ("bid", -1) if message % 4 < 2 else ("ask", 1)
        price = 1000 + off * (1 + message * 7 % 19)
        book.append(f"deribit,{symbol},{ts - 900},{ts},false,{side},{price}.5,{message % 5}.25")
        if message % 10 == 0:
            trades.append(f"deribit,{symbol},{ts - 900},{ts},{message},sell,{price}.5,1")
    (folder / "incremental_book_L2.csv").write_text("\n".join(book) + "\n")
    (folder / "trades.csv").write_text("\n".join(trades) + "\n")


class PeersTest(unittest.TestCase):
    """Markets of one symbol and of three. Wants TICKREEL_BIN, the path of the binary."""

    def answers(self, symbols):
        """Of all peers; each has files of every kind."""
        found = {}
        with tempfile.TemporaryDirectory(prefix="tickreel-peers-") as place:
            folder = Path(place)
            write_market(folder, symbols, 6000)
            market = describe(folder, folder / "market.json")
            for name in PEERS:
                (folder / name).mkdir()
                peer = engines.find(name)(folder / name, market)
                peer.load()
                getattr(peer, "prepare", lambda: None)()
                self.assertEqual(
                    {kind for kind, size in peer.sizes().items() if size}, {"book", "trades"}
                )
                found[name] = peer.answers()
        return found

    def test_a_symbol_has_the_same_books_ranges_and_rows_everywhere(self):
        found = self.answers(["X"])

        self.assertEqual(found["tickreel"]["scan"][0], 6040)
        self.assertEqual(len(set(found["tickreel"]["book"])), 8)
        for name in PEERS:
            self.assertEqual(found[name], found["tickreel"], name)

    def test_symbols_have_the_same_rows_minutes_and_days_everywhere(self):
        found = self.answers(["X", "Y", "Z"])

        self.assertEqual(found["tickreel"]["merged"][0], 6120)
        for name in PEERS:
            self.assertEqual(found[name], found["tickreel"], name)


class MarketTest(unittest.TestCase):
    """What is known of the rows."""

    def test_it_is_of_the_folder_and_the_file_that_are_asked_for(self):
        with tempfile.TemporaryDirectory(prefix="tickreel-peers-") as place:
            one, other, cache = Path(place) / "one", Path(place) / "other", Path(place) / "cache"
            one.mkdir()
            other.mkdir()
            write_market(one, ["X"], 100)
            write_market(other, ["X", "Y"], 100)

            found = [describe(one, cache), describe(one, cache), describe(other, cache)]
            write_market(other, ["X", "Y"], 200)
            found.append(describe(other, cache))

        self.assertEqual([market.rows for market in found], [140, 140, 180, 280])
        self.assertEqual(found[0], found[1])
        self.assertEqual([len(market.symbols) for market in found], [1, 1, 2, 2])

    def test_it_is_looked_through_once(self):
        with tempfile.TemporaryDirectory(prefix="tickreel-peers-") as place:
            folder, cache = Path(place), Path(place) / "cache"
            write_market(folder, ["X"], 100)
            describe(folder, cache)
            cache.write_text(cache.read_text().replace('"rows": 140', '"rows": 7'))

            self.assertEqual(describe(folder, cache).rows, 7)


class TableTest(unittest.TestCase):
    """What is printed."""

    def test_ratios_say_how_much_better_we_are_and_wrong_answers_are_named(self):
        names = {"tickreel": "ours", "duck": "D", "dbn": "E"}
        rows = [
            {
                "what": "size",
                "unit": "B",
                "less": True,
                "differs": [],
                "values": {"tickreel": 5.0, "duck": 10.0},
            },
            {
                "what": "speed",
                "unit": "M",
                "less": False,
                "differs": ["duck"],
                "values": {"tickreel": 200.0, "duck": 50.0},
            },
        ]

        text = run.markdown(rows, list(names), names).splitlines()

        self.assertEqual(text[2], "| size | B | 5 | 10 (x 2) |  |")
        self.assertEqual(text[3], "| speed | M | 200 | 50 (x 4) DIFFERS |  |")


if __name__ == "__main__":
    unittest.main()
