//! Messages of both Coinbase feeds written by hand, and one capture of each.

use super::super::testing::{
    self, CONNECTION, StoredBooks, capture, feed, new_dialect, refused, rows_of, texts, try_feed,
};
use super::*;
use crate::ingest::Form;
use crate::ingest::Frame;
use crate::ingest::rows::Rows;

fn advanced(channel: &str, seq: u64, events: &str) -> String {
    format!(
        r#"{{"channel":"{channel}","timestamp":"2026-08-09T21:05:48.5Z","sequence_num":{seq},
            "events":[{events}]}}"#
    )
}

fn level(side: &str, price: &str, qty: &str) -> String {
    format!(
        r#"{{"side":"{side}","event_time":"2026-08-09T21:05:48.17{}Z","price_level":"{price}",
            "new_quantity":"{qty}"}}"#,
        if side == "bid" { "0326" } else { "0327" }
    )
}

fn l2(ty: &str, product: &str, levels: &[String]) -> String {
    let levels = levels.join(",");
    format!(r#"{{"type":"{ty}","product_id":"{product}","updates":[{levels}]}}"#)
}

const SENT: &str = "1786309548500000000";
const BID_TIME: &str = "1786309548170326000";
const ASK_TIME: &str = "1786309548170327000";

#[test]
fn advanced_books_have_the_newest_time_of_their_levels() {
    let snapshot = l2("snapshot", "BTC-USD", &[level("offer", "2.5", "1"), level("bid", "2", "3")]);
    let updates =
        [l2("update", "BTC-USD", &[level("bid", "2", "0")]), l2("update", "ETH-USD", &[])];

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[&advanced("l2_data", 0, &snapshot), &advanced("l2_data", 1, &updates.join(","))],
    );

    assert_eq!(
        found,
        [
            format!("book coinbase:BTC-USD 1 {ASK_TIME} reset bid 2 0 0 0"),
            format!("book coinbase:BTC-USD 1 {ASK_TIME} set ask 2 2.5 1 0"),
            format!("book coinbase:BTC-USD 1 {ASK_TIME} set bid 3 2 3 0"),
            format!("book coinbase:BTC-USD 2 {BID_TIME} set bid 1 2 0 1"),
        ]
    );
}

#[test]
fn a_hole_in_the_connections_sequence_is_a_gap_in_every_book_of_it() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    let snapshot = |product: &str| l2("snapshot", product, &[level("bid", "2", "3")]);
    let messages = [
        advanced("l2_data", 4, &snapshot("BTC-USD")),
        advanced("l2_data", 5, &snapshot("ETH-USD")),
        advanced("heartbeats", 6, r#"{"heartbeat_counter":41691}"#),
    ];
    let messages: Vec<_> = messages.iter().map(|message| &**message).collect();
    try_feed(&mut *dialect, &messages, &mut rows).unwrap();
    let other = advanced("l2_data", 90, &snapshot("SOL-USD"));
    dialect.frame(TsNs(4), 9, &Frame::Message(other.as_bytes()), &mut rows).unwrap();
    assert!(texts(&mut rows).iter().all(|row| !row.contains("gap")));

    let heartbeat = advanced("heartbeats", 10, r#"{"heartbeat_counter":41692}"#);
    let message = Frame::Message(heartbeat.as_bytes());
    dialect.frame(TsNs(7), CONNECTION, &message, &mut rows).unwrap();

    let detail = "sequence_num of the connection: expected 7, found 10";
    assert_eq!(
        texts(&mut rows),
        [
            format!("book coinbase:BTC-USD 7 {SENT} gap bid 1 0 3 -"),
            format!("status coinbase:BTC-USD 7 {SENT} gap {detail}"),
            format!("book coinbase:ETH-USD 7 {SENT} gap bid 1 0 3 -"),
            format!("status coinbase:ETH-USD 7 {SENT} gap {detail}"),
        ]
    );
}

#[test]
fn a_new_connection_counts_from_its_own_start() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    let snapshot = advanced("l2_data", 4, &l2("snapshot", "BTC-USD", &[level("bid", "2", "3")]));
    let connected = Frame::Connected { url: "wss://advanced-trade-ws.coinbase.com" };
    let message = Frame::Message(snapshot.as_bytes());
    dialect.frame(TsNs(1), CONNECTION, &connected, &mut rows).unwrap();
    dialect.frame(TsNs(2), CONNECTION, &message, &mut rows).unwrap();
    dialect.frame(TsNs(3), CONNECTION, &Frame::Disconnected, &mut rows).unwrap();
    dialect.frame(TsNs(4), CONNECTION, &connected, &mut rows).unwrap();
    dialect.frame(TsNs(5), CONNECTION, &message, &mut rows).unwrap();
    // Sent again: the sequence went back.
    dialect.frame(TsNs(6), CONNECTION, &message, &mut rows).unwrap();

    let found = texts(&mut rows);

    let status: Vec<_> = found.iter().filter(|row| row.starts_with("status")).collect();
    assert_eq!(
        status,
        [
            "status coinbase:BTC-USD 2 - connected wss://advanced-trade-ws.coinbase.com",
            "status coinbase:BTC-USD 3 - disconnected connection lost",
            "status coinbase:BTC-USD 3 - gap connection lost",
            "status coinbase:BTC-USD 5 - connected wss://advanced-trade-ws.coinbase.com",
            &format!("status coinbase:BTC-USD 5 {BID_TIME} resync venue snapshot"),
            &format!(
                "status coinbase:BTC-USD 6 {SENT} gap \
                 sequence_num of the connection: expected 5, found 4"
            ),
            &format!("status coinbase:BTC-USD 6 {BID_TIME} resync venue snapshot"),
        ]
    );
}

#[test]
fn advanced_prints_name_the_maker_and_come_newest_first() {
    let print = |id: u32, side: &str| {
        format!(
            r#"{{"product_id":"BTC-USD","trade_id":"{id}","price":"65083.67","size":"0.002186",
            "time":"2026-08-09T21:05:48.17{:04}Z","side":"{side}"}}"#,
            id
        )
    };
    let trades = |ty: &str, prints: &[String]| {
        format!(r#"{{"type":"{ty}","trades":[{}]}}"#, prints.join(","))
    };
    let recent = trades("snapshot", &[print(12, "SELL"), print(11, "BUY")]);
    let update = trades("update", &[print(13, "UNKNOWN_ORDER_SIDE")]);
    let again = trades("snapshot", &[print(14, "SELL"), print(13, "SELL"), print(12, "SELL")]);

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &advanced("market_trades", 0, &recent),
            &advanced("market_trades", 1, &update),
            &advanced("market_trades", 0, &again),
        ],
    );

    let row = |ts: u32, side: &str, id: u32| {
        format!("trades coinbase:BTC-USD {ts} 178630954817{id:04}000 {side} 65083.67 0.002186 {id}")
    };
    let expected =
        [row(1, "sell", 11), row(1, "buy", 12), row(2, "unknown", 13), row(3, "buy", 14)];
    assert_eq!(found, expected);
}

#[test]
fn tickers_of_both_feeds_are_quotes() {
    let ticker = r#"{"type":"update","tickers":[{"type":"ticker","product_id":"ETH-USD",
            "price":"1919.41","best_bid":"1919.44","best_ask":"1919.49",
            "best_bid_quantity":"0.02858092","best_ask_quantity":"2"}]}"#;
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &advanced("ticker", 3, ticker),
            r#"{"type":"ticker","sequence":8176375276,"product_id":"BTC-USD","price":"4095.0",
            "best_bid":"4094.99","best_ask":"4095","side":"buy",
            "time":"2019-04-01T00:00:04.540000Z","trade_id":61165589,"last_size":"2.0"}"#,
            r#"{"type":"ticker","sequence":5,"product_id":"BTC-USD","best_bid":"17165.15",
            "best_bid_size":"0.61540890","best_ask":"17167.76","best_ask_size":"0.18528568"}"#,
            r#"{"type":"ticker","product_id":"BTC-USD"}"#,
        ],
    );

    assert_eq!(
        found,
        [
            "quotes coinbase:BTC-USD 2 1554076804540000000 4094.99 - 4095 - 8176375276",
            "quotes coinbase:BTC-USD 3 - 17165.15 0.6154089 17167.76 0.18528568 5",
            &format!("quotes coinbase:ETH-USD 1 {SENT} 1919.44 0.02858092 1919.49 2 3"),
        ]
    );
}

#[test]
fn exchange_books_keep_the_last_good_time_and_leave_bad_levels_out() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            r#"{"type":"snapshot","product_id":"YFI-USD","asks":[["40584.89","0.039985"]],
            "bids":[["40533.24","0.020416"],["40531.19","0.-10000"],["1","-5"]]}"#,
            r#"{"type":"l2update","product_id":"YFI-USD","time":"0001-01-01T00:00:00.000000Z",
            "changes":[["buy","40533.24","0"]]}"#,
            r#"{"type":"l2update","product_id":"YFI-USD","time":"2019-08-01T00:00:03.818Z",
            "changes":[["sell","9202.54000000","0.432"]]}"#,
            r#"{"type":"l2update","product_id":"YFI-USD","time":"0001-01-01T00:00:00.000000Z",
            "changes":[["buy","1","2"],["sell","3","4"]]}"#,
        ],
    );

    let known = "1564617603818000000";
    let left_out = |price: &str, qty: &str| {
        let detail = format!("level {price} left out, quantity {qty:?}");
        format!("status coinbase:YFI-USD 1 - gap snapshot: {detail}")
    };
    assert_eq!(
        found,
        [
            "book coinbase:YFI-USD 1 - reset bid 2 0 0 -",
            "book coinbase:YFI-USD 1 - set bid 2 40533.24 0.020416 -",
            "book coinbase:YFI-USD 1 - set ask 3 40584.89 0.039985 -",
            "book coinbase:YFI-USD 2 - set bid 1 40533.24 0 -",
            &format!("book coinbase:YFI-USD 3 {known} set ask 1 9202.54 0.432 -"),
            &format!("book coinbase:YFI-USD 4 {known} set bid 0 1 2 -"),
            &format!("book coinbase:YFI-USD 4 {known} set ask 1 3 4 -"),
            &left_out("40531.19", "0.-10000"),
            &left_out("1", "-5"),
        ]
    );
}

#[test]
fn exchange_matches_name_the_maker_and_the_last_one_is_not_stored_twice() {
    let print = |ty: &str, id: u32, side: &str| {
        format!(
            r#"{{"type":"{ty}","trade_id":{id},"maker_order_id":"a","taker_order_id":"b",
            "side":"{side}","size":"0.97133855","price":"4.97800000","product_id":"ETC-GBP",
            "sequence":253395153,"time":"2019-08-01T00:00:03.816000Z"}}"#
        )
    };

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            &print("last_match", 7, "buy"),
            &print("match", 8, "sell"),
            &print("last_match", 8, "sell"),
            r#"{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD"}"#,
            r#"{"type":"subscriptions","channels":[]}"#,
        ],
    );

    let row = |ts: u32, side: &str, id: u32| {
        format!("trades coinbase:ETC-GBP {ts} 1564617603816000000 {side} 4.978 0.97133855 {id}")
    };
    assert_eq!(found, [row(1, "sell", 7), row(2, "buy", 8)]);
}

#[test]
fn what_cannot_be_read_adds_no_row_and_is_a_gap_if_it_may_be_a_book() {
    let l2update = |changes: &str| {
        format!(
            r#"{{"type":"l2update","product_id":"BTC-USD","time":"2019-08-01T00:00:03Z",
            "changes":[{changes}]}}"#
        )
    };
    let books = [
        "{".to_owned(),
        "{}".to_owned(),
        r#"{"type":"l2update","product_id":"BTC-USD"}"#.to_owned(),
        r#"{"type":"snapshot","product_id":"BTC-USD","bids":[]}"#.to_owned(),
        l2update(r#"["up","1","2"]"#),
        l2update(r#"["buy","1"]"#),
        l2update(r#"["buy","1","x"]"#),
        l2update(r#"["buy","1","-2"]"#),
        l2update(r#"["buy","1","1"]"#).replace("2019-08-01", "someday"),
    ];
    let others = [
        r#"{"type":"match","product_id":"BTC-USD"}"#,
        r#"{"type":"match","trade_id":1,"side":"x","size":"1","price":"1","product_id":"B",
            "time":"2019-08-01"}"#,
        r#"{"type":"ticker","product_id":"BTC USD"}"#,
        r#"{"type":"ticker","product_id":"BTC-USD","best_bid":"x"}"#,
    ];
    let good = r#"{"type":"snapshot","product_id":"BTC-USD","bids":[["1","1"]],"asks":[]}"#;
    let books = books.iter().map(|message| (&**message, true));
    for (message, torn) in books.chain(others.map(|message| (message, false))) {
        let mut dialect = new_dialect(&VENUE);
        let mut rows = Rows::new();
        try_feed(&mut *dialect, &[good], &mut rows).unwrap();

        let (_, is_torn) = refused(&mut *dialect, message);

        assert_eq!(is_torn, torn, "{message}");
    }
}

#[test]
fn an_unread_advanced_message_is_a_hole_only_if_it_was_a_book() {
    let good = advanced("l2_data", 0, &l2("snapshot", "BTC-USD", &[level("bid", "2", "3")]));
    let bad_level = l2("update", "BTC-USD", &[level("bid", "2", "x")]);
    let cases = [
        (advanced("l2_data", 1, &bad_level), true),
        (advanced("l2_data", 1, &l2("partial", "BTC-USD", &[])), true),
        (advanced("l2_data", 1, &l2("update", "BTC-USD", &[level("ask", "2", "1")])), true),
        (advanced("l2_data", 1, r#"{"type":"update"}"#), true),
        (advanced("l2_data", 1, "{").replace("l2_data", "l3_data"), true),
        (advanced("market_trades", 1, r#"{"type":"update"}"#), false),
        (advanced("ticker", 1, r#"{"tickers":[{}]}"#), false),
        (advanced("heartbeats", 1, "").replace("2026-08-09", "today"), false),
    ];
    for (message, torn) in cases {
        let mut dialect = new_dialect(&VENUE);
        let mut rows = Rows::new();
        try_feed(&mut *dialect, &[&good], &mut rows).unwrap();

        let (_, is_torn) = refused(&mut *dialect, &message);

        assert_eq!(is_torn, torn, "{message}");
    }
    for missing in ["timestamp", "sequence_num", "events"] {
        let message = good.replace(missing, "other");
        let error = try_feed(&mut *new_dialect(&VENUE), &[&message], &mut Rows::new()).unwrap_err();
        assert!(error.to_string().contains(missing), "{error}");
    }
}

#[test]
fn the_advanced_capture_has_no_gap_over_sequence_0_to_1029() {
    let Some(path) = capture("coinbase-ws/COINBASE.jsonl.zst") else { return };
    let mut stored = StoredBooks::default();
    let mut dialect = new_dialect(&VENUE);
    let (mut messages, mut book_rows, mut status) = (0, 0, 0);

    testing::replay(&path, Form::CryptofeedJson, &mut *dialect, |message, taken| {
        assert!(message.contains(&format!("\"sequence_num\":{messages},")), "{message}");
        stored.apply(&taken);
        messages += 1;
        book_rows += rows_of(&taken, Kind::Book);
        status += rows_of(&taken, Kind::Status);
    });

    // Two products are connected. Two reset rows, 69,334 levels of snapshots and 4,859 of updates.
    assert_eq!((messages, book_rows, status), (1030, 2 + 69_334 + 4_859, 2));
    for (_, book) in stored.iter() {
        let [bids, asks] = book.shortest();
        let price = |levels: &[(String, String)]| crate::Decimal::parse(&levels[0].0).unwrap();
        assert!(book.gaps == 0 && price(&bids) < price(&asks));
    }
}

#[test]
fn the_exchange_capture_is_read_without_a_reject() {
    let Some(path) = capture("coinbase-ws/COINBASE_PRO_20210417.ws.zst") else { return };
    let mut stored = StoredBooks::default();
    let mut seen: HashMap<String, (usize, usize)> = HashMap::new();

    testing::replay(&path, Form::CryptofeedText, &mut *new_dialect(&VENUE), |message, taken| {
        stored.apply(&taken);
        let envelope: Envelope<'_> = json::parse_text(message).unwrap();
        let count = seen.entry(envelope.ty.unwrap().into_owned()).or_default();
        count.0 += 1;
        count.1 += taken.iter().map(|(_, batch)| batch.rows()).sum::<usize>();
    });

    let messages = |ty: &str| seen.get(ty).map(|count| count.0);
    assert_eq!((messages("l2update"), messages("snapshot")), (Some(9719), Some(10)));
    assert_eq!(seen["match"], (97, 97));
    assert_eq!(seen["last_match"], (10, 10));
    assert_eq!(seen["ticker"], (107, 107));
    assert!(seen["l2update"].1 >= 9719);
    assert_eq!(stored.iter().count(), 10);
    assert!(stored.iter().all(|(_, book)| book.gaps == 0));
}
