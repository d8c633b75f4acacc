//! What a server answers, apart from replays.

use super::atoms::{self, wrong_answer};
use super::told::PlayState;
use crate::book::{Book, Checkpoint, State, Tracker};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{ContentHash, Side, StreamKey};
use crate::limit;
use crate::quantity::{Decimal, Instrument, TsNs};
use crate::replay::{Coverage, Gap, Span};
use crate::rpc::proto;
use crate::store::StreamInfo;

/// Price and quantity.
pub type Level = (Decimal, Decimal);

/// A book at one moment, as far down as was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookAnswer {
    /// What is traded where.
    pub instrument: Instrument,
    /// The moment asked for.
    pub at: TsNs,
    /// Whether it can be trusted.
    pub state: State,
    /// Event time of the last message in it.
    pub ts_event: Option<TsNs>,
    /// Receive time of the last message in it.
    pub ts_recv: Option<TsNs>,
    /// Venue sequence of the last message in it.
    pub venue_seq: Option<i64>,
    /// The most decimals that the venue writes prices and quantities with.
    pub digits: (u8, u8),
    /// Bids, best first.
    pub bids: Vec<Level>,
    /// Asks, best first.
    pub asks: Vec<Level>,
    /// How many levels bids and asks have, also beyond the depth.
    pub level_counts: (u64, u64),
}

impl BookAnswer {
    /// A book to apply messages to, from here on; it is whole if the answer has all levels.
    ///
    /// # Errors
    /// As [`Tracker::restore`]; [`ErrorKind::Limit`] if a price or quantity does not fit an `i64`
    /// at the scale of its book.
    pub fn tracker(&self) -> Result<Tracker> {
        let levels = || self.bids.iter().chain(&self.asks);
        let price_scale = levels().map(|(price, _)| price.scale()).max().unwrap_or(0);
        let qty_scale = levels().map(|(_, qty)| qty.scale()).max().unwrap_or(0);
        let columns = |levels: &[Level]| -> Result<(Vec<i64>, Vec<i64>)> {
            let at = |value: Decimal, scale| {
                let text = || format!("{value} does not fit 64 bits at {scale} decimals");
                value.mantissa_at(scale).ok_or_else(|| Error::new(ErrorKind::Limit, text()))
            };
            let level = |&(price, qty): &Level| Ok((at(price, price_scale)?, at(qty, qty_scale)?));
            levels.iter().map(level).collect()
        };
        let (bids, asks) = (columns(&self.bids)?, columns(&self.asks)?);
        let mut tracker = Tracker::new();
        tracker.restore(&Checkpoint {
            price_scale,
            qty_scale,
            bid_prices: &bids.0,
            bid_qtys: &bids.1,
            ask_prices: &asks.0,
            ask_qtys: &asks.1,
            state: self.state,
            ts_recv: self.ts_recv,
            ts_event: self.ts_event,
            venue_seq: self.venue_seq,
        })?;
        Ok(tracker)
    }
}

impl proto::Book {
    /// The book that `tracker` holds, `depth` levels down.
    pub(in crate::rpc) fn of(
        instrument: &Instrument,
        at: TsNs,
        tracker: &Tracker,
        digits: (u8, u8),
        depth: Option<usize>,
    ) -> Self {
        let book = tracker.book();
        let (state, stale_since_ns, missing) = match tracker.state() {
            State::Live => (proto::BookState::Live, None, 0),
            State::Stale { since, missing } => (proto::BookState::Stale, Some(since.0), missing),
            State::Empty => (proto::BookState::Empty, None, 0),
        };
        let (bid_prices, bid_qtys) = side(book, Side::Bid, depth);
        let (ask_prices, ask_qtys) = side(book, Side::Ask, depth);
        Self {
            instrument: instrument.to_string(),
            at_ns: at.0,
            state: state.into(),
            stale_since_ns,
            missing,
            ts_event_ns: tracker.ts_event().map(|ts| ts.0),
            ts_recv_ns: tracker.ts_recv().map(|ts| ts.0),
            venue_seq: tracker.venue_seq(),
            price_scale: book.price_scale().into(),
            qty_scale: book.qty_scale().into(),
            price_digits: digits.0.into(),
            qty_digits: digits.1.into(),
            bid_prices,
            bid_qtys,
            ask_prices,
            ask_qtys,
            bid_levels: book.level_count(Side::Bid) as u64,
            ask_levels: book.level_count(Side::Ask) as u64,
        }
    }
}

fn side(book: &Book, side: Side, depth: Option<usize>) -> (Vec<i64>, Vec<i64>) {
    // One answer holds this many; a book cannot be deeper in a store that was checked.
    let depth = depth.unwrap_or(limit::LEVELS_PER_SIDE_MAX).min(book.level_count(side));
    let (mut prices, mut qtys) = (Vec::with_capacity(depth), Vec::with_capacity(depth));
    for (price, qty) in book.levels(side).take(depth) {
        prices.push(price);
        qtys.push(qty);
    }
    (prices, qtys)
}

impl TryFrom<proto::Book> for BookAnswer {
    type Error = Error;

    fn try_from(book: proto::Book) -> Result<Self> {
        let state = match (book.state(), book.stale_since_ns) {
            (proto::BookState::Live, None) => State::Live,
            (proto::BookState::Empty, None) => State::Empty,
            (proto::BookState::Stale, Some(since)) => {
                State::Stale { since: TsNs(since), missing: book.missing }
            }
            (state, _) => return Err(wrong_answer(state.as_str_name())),
        };
        let price_scale = atoms::answered_scale(book.price_scale)?;
        let qty_scale = atoms::answered_scale(book.qty_scale)?;
        let levels = |prices: &[i64], qtys: &[i64]| -> Result<Vec<Level>> {
            if prices.len() != qtys.len() {
                return Err(wrong_answer("as many prices as quantities"));
            }
            let levels = prices.iter().zip(qtys).map(|(&price, &qty)| {
                Some((Decimal::new(price, price_scale)?, Decimal::new(qty, qty_scale)?))
            });
            let levels: Option<Vec<Level>> = levels.collect();
            levels.ok_or_else(|| wrong_answer("a level without price or quantity"))
        };
        Ok(Self {
            instrument: atoms::answered_instrument(&book.instrument)?,
            at: TsNs(book.at_ns),
            state,
            ts_event: book.ts_event_ns.map(TsNs),
            ts_recv: book.ts_recv_ns.map(TsNs),
            venue_seq: book.venue_seq,
            digits: (
                atoms::answered_scale(book.price_digits)?,
                atoms::answered_scale(book.qty_digits)?,
            ),
            bids: levels(&book.bid_prices, &book.bid_qtys)?,
            asks: levels(&book.ask_prices, &book.ask_qtys)?,
            level_counts: (book.bid_levels, book.ask_levels),
        })
    }
}

/// What a server has stored of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamSummary {
    /// The figures.
    pub info: StreamInfo,
    /// Number of the manifest they are of.
    pub generation: u64,
}

/// Streams by instrument, as an answer lists them. `infos` are sorted by name.
pub(in crate::rpc) fn summaries_answer(infos: &[StreamInfo]) -> Vec<proto::InstrumentInfo> {
    let mut listed: Vec<proto::InstrumentInfo> = Vec::new();
    for info in infos {
        let instrument = info.key.instrument.to_string();
        let stream = proto::StreamInfo {
            kind: atoms::kind_code(info.key.kind),
            first_ns: info.first.0,
            last_ns: info.last.0,
            ts_event_min_ns: info.events.map(|(min, _)| min.0),
            ts_event_max_ns: info.events.map(|(_, max)| max.0),
            rows: info.rows,
            messages: info.messages,
            bytes: info.bytes,
            segments: info.segments as u64,
            live_rows: info.live_rows,
            lost_rows: info.lost_rows,
            replay_rows_max: info.replay_rows_max,
            hash: info.hash.value(),
        };
        match listed.last_mut().filter(|last| last.instrument == instrument) {
            Some(last) => last.streams.push(stream),
            None => listed.push(proto::InstrumentInfo { instrument, streams: vec![stream] }),
        }
    }
    listed
}

/// The streams that an answer lists.
pub(in crate::rpc) fn summaries_from(
    answer: &proto::ListInstrumentsResponse,
) -> Result<Vec<StreamSummary>> {
    let mut found = Vec::new();
    for listed in &answer.instruments {
        let instrument = atoms::answered_instrument(&listed.instrument)?;
        for stream in &listed.streams {
            let kind = atoms::answered_kind(stream.kind)?;
            let key = StreamKey { instrument: instrument.clone(), kind };
            let segments = usize::try_from(stream.segments);
            let info = StreamInfo {
                key,
                first: TsNs(stream.first_ns),
                last: TsNs(stream.last_ns),
                events: stream.ts_event_min_ns.map(TsNs).zip(stream.ts_event_max_ns.map(TsNs)),
                rows: stream.rows,
                messages: stream.messages,
                bytes: stream.bytes,
                segments: segments.map_err(|_| wrong_answer("more segments than can be"))?,
                live_rows: stream.live_rows,
                lost_rows: stream.lost_rows,
                replay_rows_max: stream.replay_rows_max,
                hash: ContentHash::from_parts(stream.hash, stream.rows),
            };
            found.push(StreamSummary { info, generation: answer.generation });
        }
    }
    Ok(found)
}

/// The gaps of `coverage` from number `skip` on, as one answer holds them.
pub(in crate::rpc) fn coverage_answer(coverage: &Coverage, skip: u64) -> proto::StreamCoverage {
    let spans = coverage.spans.iter().map(|span| proto::Span {
        first_ns: span.first.0,
        last_ns: span.last.0,
        rows: span.rows,
        messages: span.messages,
    });
    let skip = usize::try_from(skip).unwrap_or(usize::MAX);
    let gaps = coverage.gaps.iter().skip(skip).take(limit::REQUEST_GAPS_MAX);
    let gaps = gaps.map(|gap| proto::Gap {
        since_ns: gap.since.0,
        until_ns: gap.until.map(|until| until.0),
        missing: gap.missing,
    });
    proto::StreamCoverage {
        kind: atoms::kind_code(coverage.key.kind),
        spans: spans.collect(),
        gaps: gaps.collect(),
        gaps_total: coverage.gaps.len() as u64,
    }
}

/// What an answer says of one stream of `instrument`.
pub(in crate::rpc) fn coverage_from(
    instrument: &Instrument,
    answer: &proto::StreamCoverage,
) -> Result<Coverage> {
    let kind = atoms::answered_kind(answer.kind)?;
    let spans = answer.spans.iter().map(|span| Span {
        first: TsNs(span.first_ns),
        last: TsNs(span.last_ns),
        rows: span.rows,
        messages: span.messages,
    });
    let gaps = answer.gaps.iter().map(|gap| Gap {
        since: TsNs(gap.since_ns),
        until: gap.until_ns.map(TsNs),
        missing: gap.missing,
    });
    Ok(Coverage {
        key: StreamKey { instrument: instrument.clone(), kind },
        spans: spans.collect(),
        gaps: gaps.collect(),
    })
}

/// What a scan gave in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanEnd {
    /// Rows.
    pub rows: u64,
    /// Record batches.
    pub batches: u64,
    /// Content hash of the rows, if asked for.
    pub hash: Option<ContentHash>,
}

impl From<&ScanEnd> for proto::ScanEnd {
    fn from(end: &ScanEnd) -> Self {
        let hash = end.hash.map(ContentHash::value);
        Self { rows: end.rows, batches: end.batches, hash }
    }
}

impl From<proto::ScanEnd> for ScanEnd {
    fn from(end: proto::ScanEnd) -> Self {
        let hash = end.hash.map(|value| ContentHash::from_parts(value, end.rows));
        Self { rows: end.rows, batches: end.batches, hash }
    }
}

/// Figures of a server and its store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServerStats {
    /// Version of the server.
    pub version: String,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Number of the manifest.
    pub generation: u64,
    /// Instruments stored.
    pub instruments: u64,
    /// Streams stored.
    pub streams: u64,
    /// Segment files.
    pub segments: u64,
    /// Rows stored.
    pub rows: u64,
    /// Bytes of all segment files.
    pub bytes: u64,
    /// Requests since the start.
    pub requests: u64,
    /// Requests that ended in an error.
    pub failures: u64,
    /// Samples, scans and replays being served.
    pub streams_open: u64,
    /// Rows sent.
    pub rows_sent: u64,
    /// Bytes of Arrow data sent.
    pub bytes_sent: u64,
    /// Replay sessions that have a name.
    pub sessions: Vec<SessionSummary>,
}

/// A replay session that can be joined.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSummary {
    /// Its name.
    pub name: String,
    /// Clients that play it.
    pub members: usize,
    /// Whether it moves.
    pub state: PlayState,
    /// Recorded time that was reached.
    pub position: TsNs,
    /// Recorded time per time of the clients; 0 is as fast as possible.
    pub speed: f64,
    /// Commands of all members so far.
    pub commands: u64,
    /// Instruments that were asked for.
    pub instruments: usize,
}

impl TryFrom<proto::ReplaySession> for SessionSummary {
    type Error = Error;

    fn try_from(session: proto::ReplaySession) -> Result<Self> {
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Ok(Self {
            name: session.name,
            members: count(session.members),
            state: PlayState::from_code(session.state)?,
            position: TsNs(session.position_ns),
            speed: session.speed,
            commands: session.commands,
            instruments: count(session.instruments),
        })
    }
}

impl From<SessionSummary> for proto::ReplaySession {
    fn from(session: SessionSummary) -> Self {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            name: session.name,
            members: count(session.members),
            state: session.state.code(),
            position_ns: session.position.0,
            speed: session.speed,
            commands: session.commands,
            instruments: count(session.instruments),
        }
    }
}

impl TryFrom<proto::GetStatsResponse> for ServerStats {
    type Error = Error;

    fn try_from(answer: proto::GetStatsResponse) -> Result<Self> {
        let sessions = answer.sessions.into_iter().map(SessionSummary::try_from);
        Ok(Self {
            version: answer.version,
            uptime_ms: answer.uptime_ms,
            generation: answer.generation,
            instruments: answer.instruments,
            streams: answer.streams,
            segments: answer.segments,
            rows: answer.rows,
            bytes: answer.bytes,
            requests: answer.requests,
            failures: answer.failures,
            streams_open: answer.streams_open,
            rows_sent: answer.rows_sent,
            bytes_sent: answer.bytes_sent,
            sessions: sessions.collect::<Result<_>>()?,
        })
    }
}

impl From<ServerStats> for proto::GetStatsResponse {
    fn from(stats: ServerStats) -> Self {
        Self {
            version: stats.version,
            uptime_ms: stats.uptime_ms,
            generation: stats.generation,
            instruments: stats.instruments,
            streams: stats.streams,
            segments: stats.segments,
            rows: stats.rows,
            bytes: stats.bytes,
            requests: stats.requests,
            failures: stats.failures,
            streams_open: stats.streams_open,
            rows_sent: stats.rows_sent,
            bytes_sent: stats.bytes_sent,
            sessions: stats.sessions.into_iter().map(Into::into).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::Checkpoint;
    use prost::Message;

    fn btc() -> Instrument {
        Instrument::parse("binance:BTCUSDT").unwrap()
    }

    fn tracker(levels: usize, state: State) -> Tracker {
        let count = i64::try_from(levels).unwrap();
        let top = i64::MAX - 1;
        let asks: Vec<i64> = (0..count).map(|level| top - count + level).collect();
        let bids: Vec<i64> = (0..count).map(|level| -top + count - level).collect();
        let qtys = vec![i64::MAX; levels];
        let mut tracker = Tracker::new();
        let checkpoint = Checkpoint {
            price_scale: 2,
            qty_scale: 8,
            bid_prices: &bids,
            bid_qtys: &qtys,
            ask_prices: &asks,
            ask_qtys: &qtys,
            state,
            ts_recv: Some(TsNs(90)),
            ts_event: None,
            venue_seq: Some(-4),
        };
        tracker.restore(&checkpoint).unwrap();
        tracker
    }

    #[test]
    fn a_book_survives_the_wire_in_every_state() {
        let stale = State::Stale { since: TsNs(5), missing: 3 };
        for state in [State::Live, State::Empty, stale] {
            let tracker = tracker(3, state);

            let sent = proto::Book::of(&btc(), TsNs(99), &tracker, (2, 5), Some(2));
            let book = BookAnswer::try_from(sent).unwrap();

            assert_eq!((book.state, book.at, book.digits), (state, TsNs(99), (2, 5)));
            assert_eq!((book.ts_recv, book.ts_event), (Some(TsNs(90)), None));
            assert_eq!((book.venue_seq, book.level_counts), (Some(-4), (3, 3)));
            let levels = tracker.book().levels(Side::Ask).take(2);
            let expected: Vec<Level> = levels
                .map(|(p, q)| (Decimal::new(p, 2).unwrap(), Decimal::new(q, 8).unwrap()))
                .collect();
            assert_eq!(book.asks, expected);
            assert_eq!(book.bids.len(), 2);
        }
    }

    #[test]
    fn the_deepest_book_with_the_longest_numbers_fits_one_answer() {
        let tracker = tracker(limit::LEVELS_PER_SIDE_MAX, State::Live);

        let sent = proto::Book::of(&btc(), TsNs(99), &tracker, (2, 5), None);

        let frame =
            proto::ReplayResponse { event: Some(proto::replay_response::Event::OpeningBook(sent)) };
        assert!(frame.encoded_len() <= limit::RPC_ANSWER_BYTES_MAX, "{}", frame.encoded_len());
    }

    #[test]
    fn a_book_that_cannot_be_is_refused() {
        let good = proto::Book::of(&btc(), TsNs(99), &tracker(3, State::Live), (2, 5), None);
        let spoil: [fn(&mut proto::Book); 6] = [
            |book| book.state = 0,
            |book| book.stale_since_ns = Some(4),
            |book| book.price_scale = 19,
            |book| book.bid_qtys.truncate(2),
            |book| book.ask_prices.push(i64::MIN),
            |book| book.instrument = "x".into(),
        ];
        for (number, spoil) in spoil.iter().enumerate() {
            let mut bad = good.clone();
            spoil(&mut bad);
            if number == 4 {
                bad.ask_qtys.push(1);
            }
            assert!(BookAnswer::try_from(bad).is_err(), "{number}");
        }
    }

    #[test]
    fn coverage_comes_in_pages_of_gaps() {
        let gap = |n| Gap { since: TsNs(n), until: (n > 2).then_some(TsNs(n + 1)), missing: 7 };
        let count = limit::REQUEST_GAPS_MAX + 3;
        let span = Span { first: TsNs(1), last: TsNs(9), rows: 5, messages: 4 };
        let whole = Coverage {
            key: StreamKey { instrument: btc(), kind: crate::event::Kind::Book },
            spans: vec![span],
            gaps: (0..i64::try_from(count).unwrap()).map(gap).collect(),
        };

        let first = coverage_answer(&whole, 0);
        let rest = coverage_answer(&whole, first.gaps.len() as u64);

        assert_eq!((first.gaps.len(), rest.gaps.len()), (limit::REQUEST_GAPS_MAX, 3));
        let mut joined = coverage_from(&btc(), &first).unwrap();
        joined.gaps.extend(coverage_from(&btc(), &rest).unwrap().gaps);
        assert_eq!(joined, whole);
        assert_eq!(coverage_answer(&whole, u64::MAX).gaps.len(), 0);
    }
}
