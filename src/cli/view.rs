//! The live view of a replay: what it knows, and how that looks. No terminal, no session: lines
//! out.

use std::collections::VecDeque;
use std::ops::Range;

use super::book::write_ladder;
use super::screen;
use super::target::book_answer;
use crate::book::Tracker;
use crate::error::Result;
use crate::event::{Batch, Kind, StreamKey, TradeSide, trades};
use crate::quantity::{Decimal, Instrument, TsNs};
use crate::rpc::{BookAnswer, Frame, PlayState, Progress, SessionState, StopCondition};

/// Trades that are shown.
const TRADES: usize = 6;
/// Columns of the position bar.
const BAR: usize = 40;

/// What is shown of a replay.
pub struct View {
    keys: Vec<StreamKey>,
    span: (TsNs, TsNs),
    /// The first book stream, its book, and the most decimals it was written with.
    book: Option<(usize, Tracker, (u8, u8))>,
    trades: VecDeque<String>,
    state: PlayState,
    speed: f64,
    position: TsNs,
    percent: f64,
    rows: u64,
    rows_per_s: f64,
    eta_ns: Option<i64>,
    live: bool,
    laps: u64,
    members: u64,
    name: Option<String>,
    notice: String,
}

impl View {
    /// Of a replay of these streams and times.
    pub fn new(keys: Vec<StreamKey>, span: (TsNs, TsNs), name: Option<String>) -> Self {
        let book = keys.iter().position(|key| key.kind == Kind::Book);
        Self {
            keys,
            span,
            book: book.map(|stream| (stream, Tracker::new(), (0, 0))),
            trades: VecDeque::new(),
            state: PlayState::Playing,
            speed: 0.0,
            position: span.0,
            percent: 0.0,
            rows: 0,
            rows_per_s: 0.0,
            eta_ns: None,
            live: false,
            laps: 0,
            members: 1,
            name,
            notice: String::new(),
        }
    }

    /// Whether it stands.
    pub fn is_paused(&self) -> bool {
        self.state == PlayState::Paused
    }

    /// Recorded time per time; 0 is as fast as possible.
    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// Recorded time that was reached.
    pub fn position(&self) -> TsNs {
        self.position
    }

    /// The first and the last time.
    pub fn span(&self) -> (TsNs, TsNs) {
        self.span
    }

    /// Shows a line of text.
    pub fn note(&mut self, notice: impl Into<String>) {
        self.notice = notice.into();
    }

    /// Takes an opening book.
    ///
    /// # Errors
    /// The answer is no book.
    pub fn open(&mut self, answer: &BookAnswer) -> Result<()> {
        let Some((stream, tracker, digits)) = &mut self.book else { return Ok(()) };
        if self.keys[*stream].instrument == answer.instrument {
            *tracker = answer.tracker()?;
            *digits = answer.digits;
        }
        Ok(())
    }

    /// Takes rows.
    ///
    /// # Errors
    /// They are no book.
    pub fn frame(&mut self, frame: &Frame) -> Result<()> {
        self.rows += frame.rows;
        self.position = self.position.max(frame.last);
        frame.steps().try_for_each(|step| self.step(step.stream, step.batch, step.messages))
    }

    fn step(&mut self, stream: usize, batch: &Batch, messages: Range<usize>) -> Result<()> {
        if let Some((book, tracker, digits)) = &mut self.book
            && *book == stream
        {
            use crate::event::book::{PRICE, QTY};
            tracker.apply(batch, messages.clone())?;
            let digits_of = |column| batch.column(column).map_or(0, |column| column.digits);
            *digits = (digits.0.max(digits_of(PRICE)), digits.1.max(digits_of(QTY)));
        }
        let Some(key) = self.keys.get(stream) else { return Ok(()) };
        if key.kind == Kind::Trades {
            let skipped = messages.len().saturating_sub(TRADES);
            for row in messages.skip(skipped) {
                self.trades.push_front(trade(&key.instrument, batch, row));
            }
            self.trades.truncate(TRADES);
        }
        Ok(())
    }

    /// Takes what progress says.
    pub fn progress(&mut self, progress: &Progress) {
        self.position = progress.position;
        self.percent = progress.percent;
        self.rows = progress.rows;
        self.rows_per_s = progress.rows_per_s;
        self.eta_ns = progress.eta_ns;
        self.speed = progress.speed;
        self.live = progress.live;
        self.laps = progress.laps;
    }

    /// Takes what became of a command, a step or a condition.
    pub fn state(&mut self, state: &SessionState) {
        let (first, last) = self.span;
        let whole = last.0.saturating_sub(first.0).max(1) as f64;
        self.percent = state.position.0.saturating_sub(first.0) as f64 * 100.0 / whole;
        self.state = state.state;
        self.position = state.position;
        self.speed = state.speed;
        self.rows = state.rows;
        self.members = state.members;
        self.live = state.live;
        self.notice = match state.stop {
            None => String::new(),
            Some(stop) => {
                let what = match stop.condition {
                    StopCondition::Time => "the time".to_owned(),
                    StopCondition::Rows => "enough rows".to_owned(),
                    StopCondition::Gap => "a gap".to_owned(),
                    StopCondition::Spread => "a large spread".to_owned(),
                    StopCondition::Trade => "a large trade".to_owned(),
                };
                let stream = stop.stream.and_then(|stream| self.keys.get(stream));
                let of = stream.map_or(String::new(), |key| format!(" of {key}"));
                format!("stopped at {what}{of}, {}", stop.time)
            }
        };
    }

    /// Everything was played.
    pub fn end(&mut self) {
        (self.state, self.percent, self.position) = (PlayState::Ended, 100.0, self.span.1);
    }

    /// What a screen of so many columns and lines shows.
    pub fn draw(&self, columns: usize, lines: usize) -> Vec<String> {
        let mut shown = Vec::new();
        let trades = self.trades.iter().map(|trade| format!("  {trade}"));
        let below: Vec<String> = match self.trades.is_empty() {
            true => self.foot(),
            false => [String::new()].into_iter().chain(trades).chain(self.foot()).collect(),
        };
        // Title, heading and spread of the ladder take five lines, its end two more.
        let depth = lines.saturating_sub(below.len() + 8) / 2;
        if let Some((stream, tracker, digits)) = &self.book {
            let instrument = &self.keys[*stream].instrument;
            let answer = book_answer(instrument, self.position, tracker, depth.max(1), *digits);
            let mut text = Vec::new();
            if write_ladder(&mut text, &answer).is_ok() {
                let text = String::from_utf8_lossy(&text).replace(": see --depth", "");
                shown.extend(text.lines().map(str::to_owned));
            }
        } else {
            shown.extend(self.keys.first().map(|key| format!("{key} at {}", self.position)));
        }
        shown.truncate(lines.saturating_sub(below.len()));
        shown.resize(lines.saturating_sub(below.len()), String::new());
        shown.extend(below);
        shown.truncate(lines);
        shown.iter().map(|line| line.chars().take(columns).collect()).collect()
    }

    fn foot(&self) -> Vec<String> {
        let filled = (self.percent / 100.0 * BAR as f64) as usize;
        let bar: String = (0..BAR)
            .map(|at| if at < filled { '=' } else { [' ', '>'][usize::from(at == filled)] })
            .collect();
        let state = match self.state {
            _ if self.live && self.state == PlayState::Playing => "live",
            PlayState::Playing => "playing",
            PlayState::Paused => "paused",
            PlayState::Ended => "ended",
        };
        let speed = match self.speed {
            0.0 => "full speed".to_owned(),
            speed => format!("{speed}x"),
        };
        let eta = self.eta_ns.filter(|_| self.state == PlayState::Playing && !self.live);
        let eta = eta.map_or(String::new(), |ns| format!("  eta {:.0} s", ns as f64 / 1e9));
        let laps = match self.laps {
            0 => String::new(),
            laps => format!("  lap {}", laps + 1),
        };
        let session = self.name.as_ref().map_or(String::new(), |name| {
            let clients = if self.members == 1 { "client" } else { "clients" };
            format!("  session {name}, {} {clients}", self.members)
        });
        vec![
            self.notice.clone(),
            format!("[{bar}] {:5.1} %  {}", self.percent, self.position),
            format!(
                "{state}  {speed}  {} rows  {}/s{eta}{laps}{session}",
                screen::count(self.rows),
                screen::count(self.rows_per_s as u64)
            ),
            "space pause  +/- speed  left/right seek  s step  q quit".to_owned(),
        ]
    }
}

fn trade(instrument: &Instrument, batch: &Batch, row: usize) -> String {
    let at = |column: usize| {
        let value = batch.i64s(column).get(row).copied().unwrap_or_default();
        let digits = batch.column(column).map_or(0, |column| column.digits);
        Decimal::new(value, batch.scale(column))
            .map_or(String::new(), |value| value.to_text_with_digits(digits))
    };
    let side = match batch.u8s(trades::SIDE).get(row).copied() {
        Some(code) if code == TradeSide::Buy as u8 => "buy ",
        Some(code) if code == TradeSide::Sell as u8 => "sell",
        _ => "    ",
    };
    let ts = TsNs(batch.ts_recv().get(row).copied().unwrap_or_default());
    format!("{ts}  {side}  {}  {}  {instrument}", at(trades::PRICE), at(trades::QTY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::State;
    use crate::event::{BatchBuilder, MessageHead, Side, TradeRow};
    use crate::rpc::StopNotice;

    const START: TsNs = TsNs(1_723_118_400_000_000_000);

    fn keys() -> Vec<StreamKey> {
        let instrument = Instrument::parse("a:X").unwrap();
        let key = |kind| StreamKey { instrument: instrument.clone(), kind };
        vec![key(Kind::Book), key(Kind::Trades)]
    }

    fn view() -> View {
        let mut view = View::new(keys(), (START, START.saturating_add(1000)), None);
        let decimal = |text| Decimal::parse(text).unwrap();
        view.open(&BookAnswer {
            instrument: keys()[0].instrument.clone(),
            at: START,
            state: State::Live,
            ts_event: None,
            ts_recv: Some(START),
            venue_seq: None,
            digits: (2, 1),
            bids: vec![(decimal("99.5"), decimal("2")), (decimal("99.25"), decimal("4"))],
            asks: vec![(decimal("100"), decimal("1"))],
            level_counts: (2, 1),
        })
        .unwrap();
        view
    }

    fn state(state: PlayState) -> SessionState {
        SessionState {
            state,
            position: START.saturating_add(500),
            speed: 10.0,
            commands: 1,
            rows: 12_345,
            stop: None,
            by_other: false,
            members: 1,
            live: false,
            cursor: bytes::Bytes::new(),
            epoch: 0,
        }
    }

    #[test]
    fn the_screen_shows_the_ladder_the_bar_and_the_keys() {
        let mut view = view();
        view.state(&state(PlayState::Paused));

        let lines = view.draw(70, 20);

        assert_eq!(lines.len(), 20);
        assert!(lines.iter().all(|line| line.chars().count() <= 70));
        let text = lines.join("\n");
        for shown in [
            "a:X at 2024-08-08T12:00:00.000000500Z  live",
            " 100.00       1.0  ask ########",
            "-- spread 0.5 (50.13 bps) --",
            "  99.50       2.0  bid ###############",
            "  99.25       4.0  bid ##############################",
            "[====================>                   ]  50.0 %",
            "paused  10x  12,345 rows",
            "space pause  +/- speed",
        ] {
            assert!(text.contains(shown), "{shown}\n\nin\n\n{text}");
        }
    }

    #[test]
    fn rows_move_the_book_and_the_last_trades_come_first() {
        let mut view = view();
        let mut book = BatchBuilder::new(Kind::Book);
        book.begin(MessageHead { ts_recv: START, ..MessageHead::default() });
        book.level_text(Side::Ask, "99.75", "0.5").unwrap();
        book.end();
        let mut trades = BatchBuilder::new(Kind::Trades);
        for number in 0..9 {
            trades.trade(&TradeRow {
                ts_recv: START,
                ts_event: None,
                side: TradeSide::Sell,
                price: Decimal::parse("99.5").unwrap(),
                qty: Decimal::from_int(number).unwrap(),
                trade_id: "",
            });
        }
        view.step(0, &book.finish().unwrap()[0], 0..1).unwrap();
        view.step(1, &trades.finish().unwrap()[0], 0..9).unwrap();

        let text = view.draw(100, 24).join("\n");

        assert!(text.contains("99.75       0.5  ask"), "{text}");
        let last: Vec<_> = (3..9).rev().map(|n| text.find(&format!("99.5  {n}  a:X"))).collect();
        assert!(last.iter().all(Option::is_some) && last.is_sorted(), "{text}");
        assert!(!text.contains("99.5  2  a:X"), "{text}");
    }

    #[test]
    fn stops_ends_and_small_screens_are_shown() {
        let mut view = view();
        let stop = StopNotice { condition: StopCondition::Trade, time: START, stream: Some(1) };
        view.state(&SessionState { stop: Some(stop), ..state(PlayState::Paused) });
        let text = view.draw(90, 20).join("\n");
        assert!(text.contains("stopped at a large trade of a:X trades"), "{text}");

        view.end();
        assert!(view.draw(90, 20).join("\n").contains("ended"));
        for (columns, lines) in [(20, 8), (1, 1), (300, 100)] {
            let drawn = view.draw(columns, lines);
            assert!(drawn.len() <= lines);
            assert!(drawn.iter().all(|line| line.chars().count() <= columns));
        }
    }
}
