from __future__ import annotations

import unittest
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd

from tickreel import InvalidArgument, to_datetime, to_datetime64, to_duration_ns, to_ns, to_text

NOON = 1_723_118_400_000_000_000  # 2024-08-08T12:00:00Z


class Times(unittest.TestCase):
    def test_every_way_to_write_a_time_keeps_its_nanoseconds(self) -> None:
        exact = NOON + 123_456_789
        for time in (
            exact,
            np.int64(exact),
            "2024-08-08T12:00:00.123456789Z",
            "2024-08-08 12:00:00.123456789",
            "2024-08-08T13:00:00.123456789+01",
            "2024-08-08T13:30:00.123456789+0130",
            "2024-08-08T10:30:00.123456789-01:30",
            str(exact),
            np.datetime64(exact, "ns"),
            pd.Timestamp(exact, unit="ns"),
            pd.Timestamp(exact, unit="ns", tz="Asia/Tokyo"),
        ):
            self.assertEqual(to_ns(time), exact, time)

    def test_coarser_times(self) -> None:
        for time in (
            "2024-08-08T12:00Z",
            "2024-08-08T12:00:00",
            datetime(2024, 8, 8, 12),
            datetime(2024, 8, 8, 12, tzinfo=UTC),
            datetime(2024, 8, 8, 14, tzinfo=timezone(timedelta(hours=2))),
            np.datetime64("2024-08-08T12", "h"),
            pd.Timestamp("2024-08-08 12:00").as_unit("s"),
        ):
            self.assertEqual(to_ns(time), NOON, time)
        midnight = NOON - 43_200 * 10**9
        self.assertEqual([to_ns("2024-08-08"), to_ns(date(2024, 8, 8))], [midnight] * 2)
        self.assertEqual(to_ns("1969-12-31T23:59:59.9Z"), -100_000_000)
        self.assertEqual(to_ns(datetime(2024, 8, 8, 12, 0, 0, 1)), NOON + 1000)

    def test_what_is_no_time_is_refused(self) -> None:
        for time in (
            1.5, True, None, "noon", "2024-13-01", "2024-08-08T25:00", "2024-08-08T12",
            "2024-08-08T12:00:00.1234567891Z", 2**63, str(2**64), np.datetime64("NaT"), pd.NaT,
            np.datetime64(10**12, "s"), np.float64(1),
        ):  # fmt: skip
            with self.assertRaises(InvalidArgument, msg=repr(time)):
                to_ns(time)  # type: ignore[arg-type]

    def test_durations(self) -> None:
        for duration, ns in (
            (7, 7), ("250ms", 250_000_000), ("1.5s", 1_500_000_000), ("5m", 300 * 10**9),
            ("1 h", 3600 * 10**9), ("2d", 172_800 * 10**9), ("0.001us", 1),
            (timedelta(microseconds=3), 3000), (np.timedelta64(4, "us"), 4000),
            (pd.Timedelta("5ns"), 5),
        ):  # fmt: skip
            self.assertEqual(to_duration_ns(duration), ns)
        for wrong in (1.5, "fast", "5", "0.5ns", "1.5 parsec", np.timedelta64("NaT")):
            with self.assertRaises(InvalidArgument, msg=repr(wrong)):
                to_duration_ns(wrong)  # type: ignore[arg-type]

    def test_times_back(self) -> None:
        ns = NOON + 123_456_789
        self.assertEqual(to_text(ns), "2024-08-08T12:00:00.123456789Z")
        self.assertEqual(to_text(-1), "1969-12-31T23:59:59.999999999Z")
        self.assertEqual(to_text(None), "")
        self.assertEqual(to_datetime(ns), datetime(2024, 8, 8, 12, 0, 0, 123_456, tzinfo=UTC))
        self.assertEqual(to_ns(to_datetime64(ns)), ns)


if __name__ == "__main__":
    unittest.main()
