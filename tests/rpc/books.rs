//! Books, lists and coverage over the wire equal those of the store.

use tickreel::book::{State, Tracker};
use tickreel::event::{Kind, Side};
use tickreel::rpc::{BookAnswer, BookQuery, CoverageQuery, InstrumentQuery, SampleQuery};
use tickreel::{Decimal, TsNs};

use crate::market::{Dice, EVERY_NS, Market, START, btc, swap};

fn assert_same(answer: &BookAnswer, tracker: &Tracker, depth: Option<usize>) {
    let book = tracker.book();
    let levels = |side| {
        let levels = book.levels(side).take(depth.unwrap_or(usize::MAX));
        let exact = |value, scale| Decimal::new(value, scale).unwrap();
        let levels =
            levels.map(|(p, q)| (exact(p, book.price_scale()), exact(q, book.qty_scale())));
        levels.collect::<Vec<_>>()
    };
    assert_eq!(answer.bids, levels(Side::Bid));
    assert_eq!(answer.asks, levels(Side::Ask));
    assert_eq!(answer.state, tracker.state());
    assert_eq!(answer.ts_event, tracker.ts_event());
    assert_eq!(answer.ts_recv, tracker.ts_recv());
    assert_eq!(answer.venue_seq, tracker.venue_seq());
    let counts = (book.level_count(Side::Bid) as u64, book.level_count(Side::Ask) as u64);
    assert_eq!(answer.level_counts, counts);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_book_over_the_wire_equals_the_book_of_the_store_at_any_time() {
    let market = Market::new(5000);
    let served = market.serve().await;
    let snapshot = market.store.snapshot().unwrap();
    let mut dice = Dice(7);
    let mut times: Vec<i64> =
        (0..300).map(|_| START + dice.below(market.messages * EVERY_NS)).collect();
    times.extend([i64::MIN, 0, START - 1, START, START + 1, market.last().0, i64::MAX]);
    let (mut stale, mut empty) = (0, 0);

    for (number, at) in times.into_iter().enumerate() {
        let instrument = if number % 2 == 0 { btc() } else { swap() };
        let depth = [None, Some(1), Some(10)][number % 3];
        let query = BookQuery { instrument: instrument.clone(), at: TsNs(at), depth };

        let answer = served.client.book(&query).await.unwrap();

        let tracker = snapshot.book_at(&instrument, TsNs(at)).unwrap();
        assert_same(&answer, &tracker, depth);
        assert_eq!(answer.instrument, instrument);
        stale += usize::from(matches!(answer.state, State::Stale { .. }));
        empty += usize::from(answer.state == State::Empty);
    }
    assert!(stale > 20 && empty >= 3, "{stale} stale, {empty} empty");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_equal_the_books_at_their_times() {
    let market = Market::new(3000);
    let served = market.serve().await;
    let snapshot = market.store.snapshot().unwrap();
    let range = TsNs(START - 1_000_000)..market.last();
    let query =
        SampleQuery { instrument: btc(), range: range.clone(), every_ns: 777_777, depth: Some(5) };

    let mut books = served.client.sample(&query).await.unwrap();

    let mut at = range.start.0;
    while let Some(answer) = books.next().await.unwrap() {
        assert_eq!(answer.at, TsNs(at));
        assert_same(&answer, &snapshot.book_at(&btc(), TsNs(at)).unwrap(), Some(5));
        at += 777_777;
    }
    assert!(at >= range.end.0 && at - 777_777 < range.end.0);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_coverage_are_those_of_the_manifest() {
    let market = Market::new(3000);
    let served = market.serve().await;
    let snapshot = market.store.snapshot().unwrap();

    let listed = served.client.instruments(&InstrumentQuery::default()).await.unwrap();
    let infos: Vec<_> = listed.iter().map(|summary| summary.info.clone()).collect();
    assert_eq!(infos, snapshot.stream_infos());
    assert!(listed.iter().all(|summary| summary.generation == snapshot.generation()));

    let query = InstrumentQuery { exchange: "okex-swap".into(), ..InstrumentQuery::default() };
    assert_eq!(served.client.instruments(&query).await.unwrap().len(), 2);
    let query = InstrumentQuery {
        symbol_contains: "USDT".into(),
        kinds: vec![Kind::Trades],
        ..InstrumentQuery::default()
    };
    let found = served.client.instruments(&query).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].info.key.kind, Kind::Trades);

    let all = TsNs::MIN..TsNs::MAX;
    let query = CoverageQuery { instrument: btc(), kinds: Vec::new(), range: all.clone() };
    let coverage = served.client.coverage(&query).await.unwrap();
    assert_eq!(coverage, snapshot.coverage(&btc()).unwrap());
    assert!(coverage[0].gaps.len() > 3);
    let middle = coverage[0].gaps[2];
    let range = middle.since..middle.since.saturating_add(1);
    let query = CoverageQuery { kinds: vec![Kind::Book], range, ..query };
    let narrow = served.client.coverage(&query).await.unwrap();
    assert_eq!(narrow.len(), 1);
    assert_eq!(narrow[0].gaps, [middle]);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_list_join_without_doubles() {
    let market = Market::new(100);
    let served = market.serve().await;
    let mut plain = served.plain().await;
    let mut request = tickreel::rpc::proto::ListInstrumentsRequest {
        page_size: 1,
        ..tickreel::rpc::proto::ListInstrumentsRequest::default()
    };

    let first = plain.list_instruments(request.clone()).await.unwrap().into_inner();
    assert_eq!(first.instruments.len(), 1);
    request.page_token = first.next_page_token;
    let second = plain.list_instruments(request).await.unwrap().into_inner();

    assert_eq!(first.instruments[0].instrument, btc().to_string());
    assert_eq!(second.instruments[0].instrument, swap().to_string());
    assert_eq!(second.next_page_token, "");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_imported_while_the_server_runs_is_seen_at_once() {
    let market = Market::new(100);
    let served = market.serve().await;
    let before = served.client.stats().await.unwrap();
    let other = tickreel::Instrument::parse("kraken:XBT/USD").unwrap();
    let key = tickreel::event::StreamKey { instrument: other.clone(), kind: Kind::Book };
    let query = BookQuery { instrument: other, at: TsNs::MAX, depth: None };
    assert!(served.client.book(&query).await.is_err());

    let mut import = market.store.import(tickreel::store::ImportOptions::default()).unwrap();
    for batch in &crate::market::book(50, 9) {
        import.append(&key, batch).unwrap();
    }
    import.commit().unwrap();

    assert!(!served.client.book(&query).await.unwrap().bids.is_empty());
    let after = served.client.stats().await.unwrap();
    assert_eq!(after.generation, before.generation + 1);
    assert_eq!(after.streams, before.streams + 1);
    assert_eq!(after.failures, 1);
    served.stop().await;
}
