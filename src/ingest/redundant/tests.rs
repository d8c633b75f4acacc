//! Every small interleaving of two copies that lose messages, one after the other or both.

use std::collections::BTreeSet;

use super::*;
use crate::book::{State, Tracker};
use crate::event::{MessageHead, QuoteRow, Side, TickerRow, TradeRow, TradeSide, Value, book};
use crate::quantity::{Decimal, Instrument};

const MESSAGES: i64 = 12;
const MS: i64 = 1_000_000;
/// Between two messages, ns.
const STEP: i64 = 100 * MS;

/// What a stream is like.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    SequencedBook,
    Book,
    TradesWithIds,
    Trades,
    SequencedQuotes,
    Quotes,
    Ticker,
    Liquidations,
}

const FORMS: [Form; 8] = [
    Form::SequencedBook,
    Form::Book,
    Form::TradesWithIds,
    Form::Trades,
    Form::SequencedQuotes,
    Form::Quotes,
    Form::Ticker,
    Form::Liquidations,
];

impl Form {
    fn kind(self) -> Kind {
        match self {
            Self::SequencedBook | Self::Book => Kind::Book,
            Self::TradesWithIds | Self::Trades => Kind::Trades,
            Self::SequencedQuotes | Self::Quotes => Kind::Quotes,
            Self::Ticker => Kind::Ticker,
            Self::Liquidations => Kind::Liquidations,
        }
    }

    fn is_print(self) -> bool {
        matches!(self.kind(), Kind::Trades | Kind::Liquidations)
    }

    fn is_sequenced(self) -> bool {
        matches!(self, Self::SequencedBook | Self::SequencedQuotes)
    }
}

/// What a copy is told.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Heard {
    Message(i64),
    /// The book after that message.
    Snapshot(i64),
    /// The same, after a hole.
    Resync(i64),
    Lost,
}

/// Messages that a copy loses, the first and the last; it has no connection meanwhile.
type Hole = Option<(i64, i64)>;

fn instrument() -> Instrument {
    Instrument::parse("okex:BTC-USDT").unwrap()
}

/// Rows as a dialect makes them.
fn add(rows: &mut Rows, form: Form, ts_recv: i64, heard: Heard) {
    let (instrument, ts_recv, is_book) = (instrument(), TsNs(ts_recv), form.kind() == Kind::Book);
    let (Heard::Message(number) | Heard::Snapshot(number) | Heard::Resync(number)) = heard else {
        rows.status(&instrument, ts_recv, None, StatusWhat::Disconnected, "connection lost");
        if is_book {
            rows.gap(&instrument, ts_recv, None, 0, "connection lost");
        }
        return;
    };
    let snapshot = heard != Heard::Message(number);
    if heard == Heard::Resync(number) {
        rows.status(&instrument, ts_recv, None, StatusWhat::Resync, "venue snapshot");
    }
    let price = Decimal::from_int(number).unwrap();
    let ts_event = Some(TsNs(number * STEP));
    let venue_seq = form.is_sequenced().then_some(number * 10);
    let id = if form == Form::TradesWithIds { number.to_string() } else { String::new() };
    let (builder, ts_recv) = rows.stream(&instrument, form.kind(), ts_recv);
    let qty = Decimal::from_int(1).unwrap();
    match form.kind() {
        Kind::Book => {
            builder.begin(MessageHead { ts_recv, ts_event, venue_seq, snapshot });
            for number in if snapshot { 1 } else { number }..=number {
                builder.level(Side::Bid, Decimal::from_int(number).unwrap(), qty);
            }
            builder.end();
        }
        Kind::Quotes => builder.quote(&QuoteRow {
            ts_recv,
            ts_event,
            bid: Some((price, qty)),
            ask: None,
            venue_seq,
        }),
        Kind::Ticker => {
            builder.ticker(&TickerRow { ts_recv, ts_event, last: Some(price), ..no_ticker() });
        }
        _ => builder.trade(&TradeRow {
            ts_recv,
            ts_event,
            side: TradeSide::Buy,
            price,
            qty,
            trade_id: &id,
        }),
    }
}

fn no_ticker() -> TickerRow {
    TickerRow {
        ts_recv: TsNs(0),
        ts_event: None,
        last: None,
        mark: None,
        index: None,
        funding_rate: None,
        predicted_funding_rate: None,
        funding_ts: None,
        open_interest: None,
    }
}

/// What a copy hears, `delay` later than the venue says it; both begin with the same book.
fn heard(form: Form, delay: i64, hole: Hole) -> Vec<(i64, Heard)> {
    let is_book = form.kind() == Kind::Book;
    let mut all = Vec::new();
    if is_book {
        all.push((0, Heard::Snapshot(0)));
    }
    for number in 1..=MESSAGES {
        let ts = number * STEP + delay;
        match hole {
            Some((first, last)) if (first..=last).contains(&number) => {
                if number == first {
                    all.push((ts - STEP + 1, Heard::Lost));
                }
                if number == last && is_book {
                    all.push((ts + 1, Heard::Resync(last)));
                }
            }
            _ => all.push((ts, Heard::Message(number))),
        }
    }
    all
}

/// What was stored of the stream, message by message, and its facts.
#[derive(Default)]
struct Stored {
    messages: Vec<String>,
    facts: Vec<String>,
    last_ts: i64,
    tracker: Tracker,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}", self.messages, self.facts)
    }
}

impl Stored {
    fn add(&mut self, made: Made) {
        for (key, batch) in made {
            assert_eq!(key.instrument, instrument());
            for message in 0..batch.messages() {
                if key.kind == Kind::Status {
                    let value = |column| match batch.value(message, message, column) {
                        Value::Code(name) => name.to_owned(),
                        Value::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
                        _ => unreachable!(),
                    };
                    self.facts.push(format!("{} {}", value(status::WHAT), value(status::DETAIL)));
                    continue;
                }
                assert!(batch.ts_recv()[message] >= self.last_ts);
                self.last_ts = batch.ts_recv()[message];
                self.messages.push(text(&batch, message));
            }
            if key.kind == Kind::Book {
                self.tracker.apply(&batch, 0..batch.messages()).unwrap();
            }
        }
    }

    /// Holes that are told.
    fn gaps(&self) -> usize {
        let rows = self.messages.iter().filter(|message| *message == "gap").count();
        let facts = self.facts.iter().filter(|fact| fact.starts_with("gap")).count();
        assert!(rows == 0 || rows == facts, "{self:?}");
        facts
    }
}

/// A message as its number, its number and the book it gives, or `gap`.
fn text(batch: &Batch, message: usize) -> String {
    let row = batch.message_rows(message).end - 1;
    if batch.kind() == Kind::Book {
        let first = batch.message_rows(message).start;
        match batch.value(message, first, book::ACTION) {
            Value::Code("reset") if row == first => return "book of 0".to_owned(),
            Value::Code("reset") => {
                let levels = batch.message_rows(message).len() - 1;
                return format!("book of {levels}");
            }
            Value::Code("gap") => return "gap".to_owned(),
            _ => {}
        }
    }
    let price = ["price", "bid_price", "last"];
    let column = price.iter().find_map(|name| batch.schema().column(name).ok()).unwrap();
    let Value::Decimal(price) = batch.value(message, row, column) else { unreachable!() };
    price.to_string()
}

/// Merges what copies hear, `together` events at a time.
fn merge(form: Form, copies: &[Vec<(i64, Heard)>], together: usize) -> Stored {
    let events = copies.iter().enumerate();
    let mut events: Vec<_> = events
        .flat_map(|(copy, all)| all.iter().map(move |(ts, heard)| (*ts, copy, *heard)))
        .collect();
    events.sort_by_key(|(ts, copy, _)| (*ts, *copy));
    let mut merger = Merger::new(copies.len());
    let mut rows: Vec<_> = copies.iter().map(|_| Rows::new()).collect();
    let mut stored = Stored::default();
    for events in events.chunks(together) {
        for (ts, copy, heard) in events {
            add(&mut rows[*copy], form, *ts, *heard);
        }
        let made = rows.iter_mut().map(|rows| rows.take().unwrap()).collect();
        stored.add(merger.merge(made).unwrap());
    }
    stored
}

/// The whole stream.
fn whole(form: Form) -> Vec<String> {
    let first = (form.kind() == Kind::Book).then(|| "book of 0".to_owned());
    first.into_iter().chain((1..=MESSAGES).map(|number| number.to_string())).collect()
}

const DELAYS: [i64; 4] = [0, 1, 130 * MS, 370 * MS];

#[test]
fn one_copy_may_lose_anything() {
    let holes = (1..=MESSAGES).flat_map(|first| (first..=MESSAGES).map(move |last| (first, last)));
    for (first, last) in holes {
        for (form, (one, other)) in pairs() {
            let hole = Some((first, last));
            for copies in [[(one, hole), (other, None)], [(one, None), (other, hole)]] {
                let [loser, keeper] =
                    if copies[0].1.is_some() { [one, other] } else { [other, one] };
                if !has_begun(form, first, loser, keeper) {
                    continue;
                }
                let copies = copies.map(|(delay, hole)| heard(form, delay, hole));
                for together in [1, 3, 100] {
                    let stored = merge(form, &copies, together);
                    let what = format!("{form:?} {hole:?} {one} {other} {together} {stored:?}");
                    assert_eq!(stored.messages, whole(form), "{what}");
                    // What happened to a connection is told, and nothing else.
                    assert_eq!(stored.facts, ["disconnected connection lost"], "{what}");
                }
            }
        }
    }
}

/// Whether the copy with delay `keeper` has heard something when the other loses message `first`.
/// Before that nobody knows that it is there.
fn has_begun(form: Form, first: i64, loser: i64, keeper: i64) -> bool {
    form.kind() == Kind::Book || (first - 1) * STEP + loser > STEP + keeper
}

/// Every form with delays of two copies.
fn pairs() -> impl Iterator<Item = (Form, (i64, i64))> {
    let delays = DELAYS.into_iter().flat_map(|one| DELAYS.map(|other| (one, other)));
    FORMS.into_iter().flat_map(move |form| delays.clone().map(move |delays| (form, delays)))
}

#[test]
fn copies_that_lose_in_turns_lose_nothing_and_a_hole_of_both_is_told() {
    for (form, (one, other)) in pairs() {
        for first in 1..=MESSAGES - 5 {
            for second in first..MESSAGES {
                let holes = [(first, first + 1), (second, second + 1)];
                let copies = [(one, holes[0]), (other, holes[1])];
                let copies = copies.map(|(delay, hole)| heard(form, delay, Some(hole)));
                // What a copy would have heard later is lost with its connection.
                let known = heard_by_somebody(&copies);
                for together in [1, 100] {
                    let stored = merge(form, &copies, together);
                    let what = format!("{form:?} {holes:?} {one} {other} {together} {stored:?}");
                    check(form, &stored, &known, &what);
                    let is_back = (first + 3) * STEP + one < (second - 1) * STEP + other;
                    let apart = is_back && second > first + 3 && has_begun(form, first, one, other);
                    assert!(!apart || stored.messages == whole(form), "{what}");
                }
            }
        }
    }
}

fn heard_by_somebody(copies: &[Vec<(i64, Heard)>]) -> BTreeSet<i64> {
    let all = copies.iter().flatten();
    all.filter_map(|(_, heard)| match heard {
        Heard::Message(number) => Some(*number),
        _ => None,
    })
    .collect()
}

/// Holes are told, and what nobody heard is not stored. Nothing is stored twice, unless the book
/// that ends a gap is older than the gap.
fn check(form: Form, stored: &Stored, known: &BTreeSet<i64>, what: &str) {
    let mut last = 0;
    let mut numbers = BTreeSet::new();
    for message in &stored.messages {
        if let Some(book) = message.strip_prefix("book of ") {
            last = book.parse().unwrap();
        }
        let Ok(number) = message.parse() else { continue };
        // A print may be had later from the other copy.
        let follows = form.is_print() || number > last;
        assert!(follows && known.contains(&number), "{number} after {last}: {what}");
        last = number;
        assert!(numbers.insert(number) || !form.is_print(), "{number} twice: {what}");
    }
    let is_book = form.kind() == Kind::Book;
    let first = numbers.first().filter(|_| !is_book).map_or(1, |first| *first);
    if (first..=MESSAGES).any(|number| !numbers.contains(&number)) {
        assert!(stored.gaps() > 0, "a hole is not told: {what}");
    }
    if is_book && stored.tracker.state() == State::Live {
        let levels = stored.tracker.book().level_count(Side::Bid);
        assert_eq!(levels, MESSAGES as usize, "{what}");
    }
}

#[test]
fn a_book_that_cannot_be_shown_to_go_on_begins_again_with_all_levels() {
    for form in [Form::SequencedBook, Form::Book] {
        // The second copy comes back ahead of the first, which is lost before it comes there.
        let mut late = heard(form, 370 * MS, None);
        late.retain(|(ts, _)| *ts <= 5 * STEP + 370 * MS);
        late.push((5 * STEP + 371 * MS, Heard::Lost));
        let copies = [late, heard(form, 0, Some((3, 7)))];

        let stored = merge(form, &copies, 1);

        let expected = ["book of 0", "1", "2", "3", "4", "5", "gap", "book of 8"];
        let rest = ["9", "10", "11", "12"];
        assert_eq!(stored.messages, [&expected[..], &rest[..]].concat(), "{form:?}");
        assert_eq!(stored.gaps(), 1);
        assert!(stored.facts.contains(&"resync the book of another connection".to_owned()));
        assert_eq!(stored.tracker.state(), State::Live);
        assert_eq!(stored.tracker.book().level_count(Side::Bid), 12);
    }
}

#[test]
fn with_no_copy_left_the_first_that_comes_back_goes_on() {
    for back in [0, 1] {
        let form = Form::SequencedBook;
        let hole = |copy| Some(if copy == back { (4, 6) } else { (3, 9) });
        let copies = [0, 1].map(|copy| heard(form, copy, hole(copy as usize)));

        let stored = merge(form, &copies, 1);

        let expected = ["book of 0", "1", "2", "3", "gap", "book of 6", "7", "8"];
        assert_eq!(stored.messages, [&expected[..], &["9", "10", "11", "12"][..]].concat());
        let told = ["disconnected connection lost", "disconnected connection lost"];
        let told = [&told[..], &["gap connection lost", "resync venue snapshot"][..]].concat();
        assert_eq!(stored.facts, told);
    }
}

#[test]
fn a_copy_that_falls_silent_is_left() {
    for form in FORMS {
        for silent_from in 1..=6 {
            for silent in [0, 1] {
                // Messages 1 s apart, so that the silence is long enough to be told from a delay.
                let slowly = |all: Vec<(i64, Heard)>| {
                    all.into_iter().map(|(ts, heard)| (ts * 10, heard)).collect::<Vec<_>>()
                };
                let mut copies = [heard(form, 0, None), heard(form, MS, None)].map(slowly);
                let (from, until) = (silent_from, silent_from + 4);
                copies[silent].retain(|(_, heard)| match heard {
                    Heard::Message(number) => !(from..until).contains(number),
                    _ => true,
                });

                let stored = merge(form, &copies, 1);

                assert_eq!(stored.messages, whole(form), "{form:?} {silent_from} {silent}");
                assert!(stored.facts.is_empty(), "{:?}", stored.facts);
            }
        }
    }
}

#[test]
fn messages_that_repeat_are_kept_apart_by_their_neighbours() {
    let form = Form::Quotes;
    let key = StreamKey { instrument: instrument(), kind: form.kind() };
    // Prices without any time: content tells little.
    let prices = [1, 2, 1, 2, 1, 3, 1, 2, 1, 1, 2, 4];
    let quote = |price: i64, at: usize| {
        let mut rows = Rows::new();
        let ts_recv = TsNs(at as i64 * STEP);
        let (builder, ts_recv) = rows.stream(&key.instrument, key.kind, ts_recv);
        let bid = Decimal::from_int(price).map(|price| (price, price));
        builder.quote(&QuoteRow { ts_recv, bid, ..QuoteRow::default() });
        rows.take().unwrap()
    };
    let lost = |at: usize| {
        let mut rows = Rows::new();
        add(&mut rows, form, at as i64 * STEP, Heard::Lost);
        rows.take().unwrap()
    };
    for lead in 0..4 {
        for end in 1..prices.len() {
            let mut merger = Merger::new(2);
            let mut stored = Stored::default();
            for at in 0..prices.len() + lead {
                if let Some(price) = prices.get(at).filter(|_| at < end + lead) {
                    stored.add(merger.merge(vec![Made::new(), quote(*price, at)]).unwrap());
                }
                let behind = at.checked_sub(lead);
                if let Some(behind) = behind.filter(|behind| *behind < end) {
                    stored.add(merger.merge(vec![quote(prices[behind], at), Made::new()]).unwrap());
                }
            }
            stored.add(merger.merge(vec![lost(99), Made::new()]).unwrap());

            let expected = prices.iter().take(end + lead).map(ToString::to_string);
            assert_eq!(stored.messages, expected.collect::<Vec<_>>(), "{lead} {end}");
        }
    }
}

#[test]
fn a_sequence_that_begins_again_is_no_hole() {
    let form = Form::SequencedBook;
    for delay in DELAYS {
        // The venue counts from 1 again after message 6, and says so with a snapshot.
        let again = |delay: i64| {
            let mut all = heard(form, delay, None);
            for (ts, heard) in &mut all {
                if let Heard::Message(number) = heard
                    && *number > 6
                {
                    *heard = match *number {
                        7 => Heard::Snapshot(1),
                        _ => Heard::Message(*number - 6),
                    };
                }
                *ts += 1;
            }
            all
        };
        let mut late = again(delay);
        late.retain(|(ts, _)| *ts <= 10 * STEP + delay + 1);
        late.push((10 * STEP + delay + 2, Heard::Lost));

        let stored = merge(form, &[late, again(0)], 1);

        let rest = ["book of 1", "2", "3", "4", "5", "6"];
        let all = [&["book of 0", "1", "2", "3", "4", "5", "6"][..], &rest[..]].concat();
        assert_eq!(stored.messages, all, "{delay}");
        assert_eq!(stored.facts, ["disconnected connection lost"]);
    }
}

#[test]
fn what_is_held_is_bounded_and_losing_it_is_told() {
    let form = Form::Trades;
    let mut merger = Merger::new(2);
    let mut stored = Stored::default();
    let mut hear = |copy: usize, ts: i64, heard: Heard| {
        let mut rows = [Rows::new(), Rows::new()];
        add(&mut rows[copy], form, ts, heard);
        let made = rows.iter_mut().map(|rows| rows.take().unwrap()).collect();
        stored.add(merger.merge(made).unwrap());
    };
    hear(0, 1, Heard::Message(1));
    hear(1, 2, Heard::Message(1));
    let many = 5000;
    for number in 2..many {
        hear(1, number, Heard::Message(number));
    }
    hear(0, many, Heard::Lost);

    assert_eq!(stored.messages[0], "1");
    let next: i64 = stored.messages[1].parse().unwrap();
    assert!(next > 2 && stored.messages.len() > 1000, "{next}");
    assert_eq!(stored.messages.len() as i64, 1 + many - next);
    assert_eq!(stored.gaps(), 1, "{:?}", stored.facts);
}

#[test]
fn a_copy_between_two_numbers_goes_on_with_the_message_that_reaches_over() {
    // The venue cuts its changes differently on each connection.
    let key = StreamKey { instrument: instrument(), kind: Kind::Book };
    let message = |ts: i64, seq: i64, snapshot: bool| {
        let mut rows = Rows::new();
        let (builder, ts_recv) = rows.stream(&key.instrument, key.kind, TsNs(ts));
        let venue_seq = Some(seq);
        builder.begin(MessageHead { ts_recv, ts_event: None, venue_seq, snapshot });
        builder.level(Side::Bid, Decimal::from_int(seq).unwrap(), Decimal::from_int(1).unwrap());
        builder.end();
        rows.take().unwrap()
    };
    let mut merger = Merger::new(2);
    let mut stored = Stored::default();
    for (ts, seq) in [(1, 10), (2, 13), (3, 16)] {
        stored.add(merger.merge(vec![message(ts, seq, ts == 1), Made::new()]).unwrap());
    }
    for (ts, seq) in [(4, 9), (5, 12), (6, 15), (7, 18)] {
        stored.add(merger.merge(vec![Made::new(), message(ts, seq, ts == 4)]).unwrap());
    }
    let mut rows = Rows::new();
    add(&mut rows, Form::SequencedBook, 8, Heard::Lost);
    stored.add(merger.merge(vec![rows.take().unwrap(), Made::new()]).unwrap());

    assert_eq!(stored.messages, ["book of 1", "13", "16", "18"]);
    assert_eq!(stored.gaps(), 0);
}

/// As [`heard`], without some messages that nobody knows to be lost.
fn heard_without(form: Form, delay: i64, lost: &[i64]) -> Vec<(i64, Heard)> {
    let all = heard(form, delay, None).into_iter();
    all.filter(|(_, heard)| !lost.iter().any(|lost| *heard == Heard::Message(*lost))).collect()
}

#[test]
fn prints_that_one_copy_loses_in_silence_are_had_from_the_other() {
    for (form, (one, other)) in pairs().filter(|(form, _)| form.is_print()) {
        for (first, last) in [(3, 3), (3, 4), (5, 7), (MESSAGES - 2, MESSAGES - 1)] {
            let lost: Vec<_> = (first..=last).collect();
            for lost in [[&*lost, &[]], [&[], &*lost], [&lost[..1], &[last + 1]]] {
                if lost.iter().flat_map(|lost| lost.iter()).any(|lost| *lost >= MESSAGES) {
                    continue;
                }
                let copies =
                    [heard_without(form, one, lost[0]), heard_without(form, other, lost[1])];
                for together in [1, 3, 100] {
                    let mut stored = merge(form, &copies, together);
                    let what = format!("{form:?} {lost:?} {one} {other} {together} {stored:?}");
                    // What is late comes after what was stored meanwhile.
                    stored.messages.sort_by_key(|number| number.parse::<i64>().unwrap());
                    assert_eq!(stored.messages, whole(form), "{what}");
                    assert!(stored.facts.is_empty(), "{what}");
                }
            }
        }
    }
}

#[test]
fn prints_that_come_in_another_order_are_stored_once() {
    for delays in [[0, 130 * MS], [130 * MS, 0], [0, 1]] {
        let mut copies = delays.map(|delay| heard(Form::TradesWithIds, delay, None));
        let (fourth, fifth) = (copies[0][3].1, copies[0][4].1);
        (copies[0][3].1, copies[0][4].1) = (fifth, fourth);
        for together in [1, 3, 100] {
            let mut stored = merge(Form::TradesWithIds, &copies, together);
            stored.messages.sort_by_key(|number| number.parse::<i64>().unwrap());
            assert_eq!(stored.messages, whole(Form::TradesWithIds), "{delays:?} {stored:?}");
            assert!(stored.facts.is_empty(), "{delays:?} {stored:?}");
        }
    }
}

#[test]
fn quotes_that_one_copy_loses_in_silence_are_told_once_a_minute() {
    for (form, (one, other)) in pairs().filter(|(form, _)| form.kind() == Kind::Quotes) {
        for together in [1, 3, 100] {
            let copies = [heard_without(form, one, &[4, 7]), heard_without(form, other, &[])];
            let stored = merge(form, &copies, together);
            let what = format!("{form:?} {one} {other} {together} {stored:?}");
            let first_is_active = one <= other;
            assert_eq!(stored.gaps(), usize::from(first_is_active), "{what}");
            let missing = whole(form).len() - stored.messages.len();
            assert_eq!(missing, if first_is_active { 2 } else { 0 }, "{what}");
        }
    }
}
