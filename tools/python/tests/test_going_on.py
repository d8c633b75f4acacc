"""What a replay knows of itself, answer by answer, without a server."""

from __future__ import annotations

import unittest

import pyarrow as pa
from test_columns import trade_bytes

from tickreel import (
    Books,
    End,
    Frame,
    InvalidArgument,
    Metrics,
    NotFound,
    ProtocolError,
    Samples,
    State,
    Stops,
    Unavailable,
)
from tickreel import asking as ask
from tickreel._proto import tickreel_pb2 as pb
from tickreel.convert import ScanReader
from tickreel.session import Session, table_of

PLAYING, PAUSED = pb.ReplayState.STATE_PLAYING, pb.ReplayState.STATE_PAUSED


def opened(instrument: str = "x:Y", **fields: object) -> pb.ReplayResponse:
    stream = pb.OpenedStream(instrument=instrument, kind=pb.KIND_TRADES)
    return pb.ReplayResponse(opened=pb.ReplayOpened(streams=[stream], **fields))  # type: ignore[arg-type]


def frame(cursor: bytes = b"", rows: int = 2) -> pb.ReplayResponse:
    chunk = pb.ReplayChunk(messages=rows, rows=rows, data=trade_bytes(range(rows)))
    made = pb.ReplayFrame(
        chunks=[chunk], run_streams=[0], run_messages=[rows], rows=rows, cursor=cursor
    )
    return pb.ReplayResponse(frame=made)


def state(
    commands: int, play: pb.ReplayState.State = PLAYING, **fields: object
) -> pb.ReplayResponse:
    made = pb.ReplayState(state=play, commands=commands, **fields)  # type: ignore[arg-type]
    return pb.ReplayResponse(state=made)


def end(
    rows: int,
    reason: pb.ReplayEnd.Reason = pb.ReplayEnd.REASON_LAST_ROW,
    cursor: bytes = b"",
) -> pb.ReplayResponse:
    totals = [pb.StreamTotal(rows=rows)]
    made = pb.ReplayEnd(reason=reason, rows=rows, streams=totals, cursor=cursor)
    return pb.ReplayResponse(end=made)


def book() -> pb.ReplayResponse:
    return pb.ReplayResponse(opening_book=pb.Book(instrument="x:Y", state=pb.BOOK_STATE_LIVE))


class GoingOn(unittest.TestCase):
    def session(self, **options: object) -> Session:
        request = ask.open_request("x:Y", "trades", None, None, options)  # type: ignore[arg-type]
        session = Session(request)
        self.assertEqual(session.first_requests(), [request])
        session.begin(opened())
        return session

    def test_a_new_connection_asks_for_what_is_left(self) -> None:
        session = self.session(speed=5.0)
        lost = Unavailable("gone")
        self.assertTrue(session.can_go_on(lost))
        self.assertFalse(session.can_go_on(NotFound("x")))
        (again,) = session.first_requests()
        self.assertEqual(again.open.resume_cursor, b"")
        self.assertFalse(again.open.HasField("opening_depth"))
        session.event(frame(b"one"))
        for command in (ask.pause_command(), ask.step_command(3, None, None), ask.seek_command(9)):
            session.sent(command)
        session.event(state(1, PAUSED, speed=7.0, cursor=b"two"))
        again, *commands = session.first_requests()
        self.assertEqual(again.open.resume_cursor, b"two")
        self.assertFalse(again.open.HasField("opening_depth"))
        self.assertEqual((again.open.paused, again.open.speed), (True, 7.0))
        # Of a step nobody knows how far it came; the pause was answered.
        self.assertEqual(commands, [ask.seek_command(9)])

    def test_what_a_step_left_to_play_is_not_played_by_a_new_connection(self) -> None:
        session = self.session(paused=True)
        session.event(state(0, PAUSED))
        for number, command in enumerate((ask.step_command(9, None, None), ask.speed_command(2))):
            session.sent(command)
            session.event(state(number + 1, PLAYING))
            (again,) = session.first_requests()
            self.assertTrue(again.open.paused)
        session.sent(ask.resume_command())
        session.event(state(3, PLAYING))
        self.assertFalse(session.first_requests()[0].open.paused)
        session.sent(ask.step_command(9, None, None))
        self.assertTrue(session.first_requests()[0].open.paused)

    def test_a_lap_that_ended_is_not_ended_again_by_a_new_connection(self) -> None:
        session = self.session(loop=True)
        session.event(frame(b"last"))
        session.event(end(2, pb.ReplayEnd.REASON_LOOPED, b"the next"))
        self.assertEqual(session.first_requests()[0].open.resume_cursor, b"the next")

    def test_opening_books_come_once_whatever_is_lost(self) -> None:
        session = Session(ask.open_request("x:Y", "book", None, None, {}))
        streams = [pb.OpenedStream(instrument=f"x:{n}", kind=pb.KIND_BOOK) for n in "YZ"]

        def connect() -> None:
            session.begin(pb.ReplayResponse(opened=pb.ReplayOpened(streams=streams)))

        def told() -> bool:
            return session.event(book()) is not None

        connect()
        self.assertEqual(told(), True)
        connect()
        self.assertEqual((told(), told()), (False, True))
        session.sent(ask.seek_command(9))
        session.event(state(1, epoch=1))
        self.assertEqual(told(), True)
        connect()
        self.assertEqual((told(), told()), (False, True))
        connect()
        self.assertEqual((told(), told()), (False, False))
        session.sent(ask.seek_command(9))
        session.event(state(1, epoch=2))
        self.assertEqual((told(), told()), (True, True))

    def test_a_session_without_opening_books_hears_those_of_nobody(self) -> None:
        session = self.session(opening_depth=0)
        session.begin(opened())
        self.assertEqual(session.first_requests()[0].open.opening_depth, 0)

    def test_counts_are_those_of_all_connections(self) -> None:
        session = self.session()
        session.event(frame())
        session.begin(opened())
        session.event(frame())
        session.begin(opened())
        session.event(frame(rows=1))
        last = session.event(end(1))
        assert isinstance(last, End)
        self.assertEqual((last.rows, last.stream_rows), (5, (5,)))
        with self.assertRaises(ProtocolError):
            session.event(end(5))

    def test_other_streams_than_before_are_refused(self) -> None:
        with self.assertRaises(ProtocolError):
            self.session().begin(opened("x:Z"))

    def test_a_seek_begins_the_counts_anew_when_it_is_answered(self) -> None:
        session = self.session()
        session.event(frame())
        session.sent(ask.pause_command())
        session.sent(ask.seek_command(9))
        session.event(state(1, PAUSED, rows=2))
        session.event(frame())
        session.event(state(2, epoch=5))
        session.event(frame(rows=1))
        self.assertIsInstance(session.event(end(1)), End)

    def test_what_others_command(self) -> None:
        session = Session(ask.join_request("class", {}))
        session.begin(opened(session="class"))
        session.event(frame())
        session.sent(ask.pause_command())
        told = session.event(state(7, by_other=True, rows=0, members=3, epoch=8))
        assert isinstance(told, State)
        self.assertEqual((told.by_other, told.members, told.epoch), (True, 3, 8))
        session.event(frame(rows=1))
        session.event(end(1))
        self.assertFalse(session.is_over, "the pause is not answered yet")
        session.event(state(9, pb.ReplayState.STATE_ENDED, rows=1))
        self.assertTrue(session.is_over)

    def test_a_member_joins_again_where_it_was_or_where_others_went(self) -> None:
        session = Session(ask.join_request("class", {"frame_rows": 7, "opening_depth": 3}))
        session.begin(opened(session="class", epoch=1, cursor=b"one"))
        self.assertTrue(session.can_go_on(Unavailable("gone")))
        session.event(frame(b"two"))
        session.sent(ask.step_command(9, None, None))
        again, *commands = session.first_requests()
        self.assertEqual(
            again.join,
            pb.ReplayJoin(
                session="class",
                opening_depth=3,
                frame_rows_max=7,
                decimals=pb.DECIMAL_FORM_FLOAT64,
                form=pb.ROW_FORM_COLUMNS,
                resume_cursor=b"two",
            ),
        )
        # Others may be playing the step; what it left to do is not known.
        self.assertEqual(commands, [ask.pause_command()])
        session.begin(opened(session="class", epoch=1, cursor=b"two"))
        session.event(frame(b"three", rows=1))
        whole = session.event(end(1))
        assert isinstance(whole, End)
        self.assertEqual(whole.rows, 3)
        session.begin(opened(session="class", epoch=2, cursor=b"elsewhere"))
        self.assertEqual(session.first_requests()[0].join.resume_cursor, b"elsewhere")
        session.event(frame(rows=1))
        moved = session.event(end(1))
        assert isinstance(moved, End)
        self.assertEqual(moved.rows, 1)

    def test_of_a_replay_that_nobody_is_left_in_one_opens_it_again_and_others_join(self) -> None:
        gone, there = NotFound("no session"), InvalidArgument("session: open already")
        opener = self.session(name="class")
        opener.begin(opened(session="class", cursor=b"one"))
        self.assertEqual(opener.first_requests()[0].join.resume_cursor, b"one")
        self.assertTrue(opener.passes(gone))
        (again,) = opener.first_requests()
        self.assertEqual((again.open.session, again.open.resume_cursor), ("class", b"one"))
        self.assertFalse(opener.passes(Unavailable("gone")))
        self.assertTrue(opener.passes(there))
        self.assertTrue(opener.first_requests()[0].HasField("join"))
        self.assertFalse(opener.passes(InvalidArgument("resume_cursor: of other streams")))
        member = Session(ask.join_request("class", {}))
        member.begin(opened(session="class", cursor=b"two"))
        self.assertTrue(member.passes(gone))
        self.assertTrue(member.first_requests()[0].HasField("join"))
        alone = self.session()
        self.assertFalse(alone.passes(gone) or alone.passes(there))

    def test_laps_are_counted_apart_and_are_no_end(self) -> None:
        session = self.session(loop=True)
        for _ in range(2):
            session.event(frame())
            lap = session.event(end(2, pb.ReplayEnd.REASON_LOOPED))
            assert isinstance(lap, End)
            self.assertEqual((lap.reason, session.is_over), ("looped", False))

    def test_stops_that_were_changed_hold_on_a_new_connection(self) -> None:
        session = self.session(stops=Stops(gap=True))
        session.sent(ask.stops_command(Stops(rows=5, end=True)))
        session.event(state(1, cursor=b"x"))
        (again,) = session.first_requests()
        self.assertEqual(again.open.stops, pb.ReplayStops(rows=5, end=True))
        session.sent(ask.stops_command(None))
        session.event(state(2, cursor=b"y"))
        (again,) = session.first_requests()
        self.assertEqual(again.open.stops, pb.ReplayStops())

    def test_a_condition_that_stopped_it(self) -> None:
        stop = pb.ReplayStop(condition=pb.ReplayStop.CONDITION_TRADE, time_ns=5, stream=0)
        told = self.session().event(state(0, PAUSED, stop=stop))
        assert isinstance(told, State)
        assert told.stop is not None
        self.assertEqual(
            (told.stop.condition, told.stop.time_ns, told.stop.instrument), ("trade", 5, "x:Y")
        )

    def test_what_is_asked(self) -> None:
        def opening(**options: object) -> pb.ReplayOpen:
            return ask.open_request("x:Y", None, 1, 2, options).open  # type: ignore[arg-type]

        self.assertEqual(
            opening(output=Books(3, "1s")).books, pb.ReplayBooks(depth=3, every_ns=10**9)
        )
        self.assertEqual(opening(output=Metrics((1, 2))).metrics, pb.ReplayMetrics(levels=[1, 2]))
        self.assertEqual(opening(by_event_time=True).order, pb.REPLAY_ORDER_EVENT)
        self.assertEqual(opening(idle_max="1s").idle_ns_max, 10**9)
        self.assertTrue(opening(verify=True).hash)
        self.assertEqual(opening(stops=Stops(at="1970-01-01")).stops.at_ns, 0)
        self.assertEqual(opening(name="class").session, "class")
        kinds = [
            list(s.kinds)
            for s in ask.open_request(
                {"x:Y": "book", "x:Z": None}, None, None, None, {}
            ).open.streams
        ]
        self.assertEqual(kinds, [[pb.KIND_BOOK], []])
        with self.assertRaises(InvalidArgument):
            ask.open_request({"x:Y": "book"}, "trades", None, None, {})


class SamplesOfBooks(unittest.TestCase):
    def test_samples_come_as_arrow(self) -> None:
        batch = pa.record_batch({"mid": [1.5, 2.5]})
        schema = batch.schema.serialize().to_pybytes()
        session = Session(ask.open_request("x:Y", "book", None, None, {"output": Books()}))
        stream = pb.OpenedStream(instrument="x:Y", kind=pb.KIND_BOOK, arrow_schema=schema)
        session.begin(pb.ReplayResponse(opened=pb.ReplayOpened(streams=[stream], books=True)))
        data = batch.serialize().to_pybytes()
        chunks = [pb.ReplayChunk(messages=2, rows=2, data=data)]
        found = session.event(pb.ReplayResponse(frame=pb.ReplayFrame(chunks=chunks, rows=2)))
        assert isinstance(found, Samples)
        self.assertEqual(table_of([found, found]).to_pydict(), {"mid": [1.5, 2.5, 1.5, 2.5]})
        self.assertIsInstance(session.event(end(2)), End)
        wrong = pb.ReplayFrame(chunks=chunks, rows=3)
        with self.assertRaises(ProtocolError):
            session.event(pb.ReplayResponse(frame=wrong))
        broken = pb.ReplayFrame(chunks=[pb.ReplayChunk(data=data[:-9])], rows=2)
        with self.assertRaises(ProtocolError):
            session.event(pb.ReplayResponse(frame=broken))
        with self.assertRaises(NotFound):
            table_of([])

    def test_rows_that_arrow_cannot_read(self) -> None:
        batch = pa.record_batch({"price": [1.5, 2.5]})
        schema, rows = batch.schema.serialize().to_pybytes(), batch.serialize().to_pybytes()

        def part(data: bytes, more: bool = False) -> pb.ScanResponse:
            return pb.ScanResponse(arrow=pb.ArrowPart(data=data, more=more))

        reader = ScanReader()
        self.assertEqual(reader.feed(part(schema)), [])
        self.assertEqual(reader.feed(part(rows[:5], more=True)), [])
        self.assertEqual(reader.feed(part(rows[5:])), [batch])
        with self.assertRaises(ProtocolError):
            reader.finish()
        reader.feed(pb.ScanResponse(end=pb.ScanEnd(rows=3)))
        with self.assertRaises(ProtocolError):
            reader.finish()
        reader.feed(pb.ScanResponse(end=pb.ScanEnd(rows=2)))
        reader.finish()
        for broken in (rows[:-9], b"x" * 100):
            with self.assertRaises(ProtocolError):
                reader.feed(part(broken))
            with self.assertRaises(ProtocolError):
                ScanReader().feed(part(broken[:-9]))

    def test_a_frame_without_rows_is_one(self) -> None:
        session = Session(ask.open_request("x:Y", None, None, None, {}))
        session.begin(opened())
        self.assertIsInstance(session.event(pb.ReplayResponse(frame=pb.ReplayFrame())), Frame)


if __name__ == "__main__":
    unittest.main()
