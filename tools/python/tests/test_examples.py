from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support import BTC, DERIBIT, ServerTest, binary

EXAMPLES = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

import imbalance
import market_making
import throughput


class Examples(ServerTest):
    def test_market_making(self) -> None:
        result = market_making.run(self.url, BTC)
        self.assertGreater(result.trades, 100)
        self.assertTrue(all(fill.maker for fill in result.fill_list))
        self.assertGreater(result.round_trips, 10)
        # A bid and an ask may be on their way when the limit is reached.
        self.assertLess(abs(result.positions[BTC]).max(), 0.13)
        self.assertEqual(result.fees, 0)

    def test_imbalance(self) -> None:
        correlation, result = imbalance.run(self.url, DERIBIT)
        self.assertTrue(-1 < correlation < 1)
        self.assertGreater(result.round_trips, 10)
        self.assertFalse(any(fill.maker for fill in result.fill_list))
        self.assertGreater(result.slippage, 0)
        self.assertEqual(abs(result.positions[DERIBIT]).max(), 0.01)
        self.assertAlmostEqual(float(result.fees), 0.0004 * float(result.turnover))

    def test_they_run_as_programs(self) -> None:
        command = [sys.executable, str(EXAMPLES / "imbalance.py"), self.url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        self.assertIn("correlation", done.stdout)
        self.assertIn("round trips", done.stdout)

    def test_the_example_in_rust_finds_the_same(self) -> None:
        program = binary().parent / "examples" / "backtest"
        if not program.is_file():
            self.skipTest("SKIPPED: the backtest in Rust: cargo build --example backtest")
        maker = str(market_making.run(self.url, BTC)) + "\n"
        taker = str(imbalance.run(self.url, DERIBIT)[1]) + "\n"
        for source in (["--store", str(self.store)], ["--server", self.url]):
            for strategy, instrument, found in (
                ("maker", BTC, maker),
                ("imbalance", DERIBIT, taker),
            ):
                command = [str(program), *source, instrument, "--strategy", strategy]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                self.assertEqual(done.stdout, found)

    def test_throughput(self) -> None:
        found = {what: rows for what, rows, _ in throughput.figures(self.url, DERIBIT)}
        self.assertEqual(len(found), 6)
        self.assertEqual(found["read, exact"], found["replay, rows as named tuples"])
        self.assertEqual(found["read, exact"], found["replay, a book kept by frame"])
