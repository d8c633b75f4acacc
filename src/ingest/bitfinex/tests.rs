//! Bitfinex messages written by hand.

use super::super::testing::{CONNECTION, feed, new_dialect, refused, texts, try_feed};
use super::*;
use crate::ingest::Frame;
use crate::ingest::rows::Rows;

const BOOK: &str =
    r#"{"event":"subscribed","channel":"book","chanId":7,"symbol":"tX","prec":"P0","pair":"X"}"#;
const TRADES: &str =
    r#"{"event":"subscribed","channel":"trades","chanId":8,"symbol":"tX","pair":"X"}"#;
const SNAPSHOT: &str = "[7,[[216,2,31.5],[218.75,1,-13.25]],1,1564617600541]";

#[test]
fn a_level_is_set_or_removed_by_its_price() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[BOOK, SNAPSHOT, "[7,[216,0,1],2]", "[7,[219,3,-18.1],3]", r#"[7,"hb",4]"#, "[7,[],5]"],
    );

    assert_eq!(
        found,
        [
            "book bitfinex:X 2 1564617600541000000 reset bid 2 0 0 -",
            "book bitfinex:X 2 1564617600541000000 set bid 2 216 31.5 -",
            "book bitfinex:X 2 1564617600541000000 set ask 3 218.75 13.25 -",
            "book bitfinex:X 3 - set bid 1 216 0 -",
            "book bitfinex:X 4 - set ask 1 219 18.1 -",
            "book bitfinex:X 6 - reset bid 3 0 0 -",
        ]
    );
}

#[test]
fn a_hole_of_the_connection_is_a_gap_in_its_books() {
    let found = feed(
        &mut *new_dialect(&VENUE),
        &[BOOK, TRADES, SNAPSHOT, r#"[8,"te",[9,5,-0.5,10.25],4]"#, "[7,[216,0,1],5]"],
    );

    assert_eq!(
        found[3..],
        [
            "book bitfinex:X 4 - gap bid 1 0 2 -",
            "book bitfinex:X 5 - set bid 1 216 0 -",
            "trades bitfinex:X 4 5000000 sell 10.25 0.5 9",
            "status bitfinex:X 4 - gap sequence of the connection: expected 2, found 4",
        ]
    );
}

#[test]
fn a_wrong_checksum_is_a_gap_until_the_next_snapshot() {
    let right = crc32fast::hash(b"216:31.5:218.75:-13.25").cast_signed();
    let good = format!(r#"[7,"cs",{right},2]"#);

    let found =
        feed(&mut *new_dialect(&VENUE), &[BOOK, SNAPSHOT, &good, r#"[7,"cs",5,3]"#, SNAPSHOT]);

    assert_eq!(found[3], "book bitfinex:X 4 - gap bid 1 0 0 -");
    let status: Vec<_> = found.iter().filter(|row| row.starts_with("status")).collect();
    assert_eq!(
        status[0],
        &format!("status bitfinex:X 4 - gap checksum: expected 5, found {right}")
    );
}

#[test]
fn trades_fill_the_hole_of_a_reconnect() {
    let recent = "[8,[[12,3,1,1],[11,2,-1,1],[10,1,1,1]]]";

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[TRADES, recent, r#"[8,"te",[10,1,1,1]]"#, r#"[8,"tu",[10,1,1,1]]"#, recent],
    );

    assert_eq!(
        found,
        [
            "trades bitfinex:X 3 1000000 buy 1 1 10",
            "trades bitfinex:X 5 2000000 sell 1 1 11",
            "trades bitfinex:X 5 3000000 buy 1 1 12",
        ]
    );
}

#[test]
fn best_prices_states_and_liquidations_are_read() {
    let status =
        r#"{"event":"subscribed","channel":"status","chanId":9,"key":"deriv:tBTCF0:USTF0"}"#;
    let liquidations =
        r#"{"event":"subscribed","channel":"status","chanId":10,"key":"liq:global"}"#;
    let funding = r#"{"event":"subscribed","channel":"ticker","chanId":11,"symbol":"fBTC"}"#;
    let ticker = "[12,[0.5,60157.3,2.25e-05,48578.5,1],1,1564617600541,\"ticker\",\"MATIC:BTC\"]";
    let state = "[9,[5,null,8090.5,8051.45,null,1,null,7,8e-06,16,null,0.25,null,null,8196.9,\
                 null,null,3005.25]]";

    let found = feed(
        &mut *new_dialect(&VENUE),
        &[
            status,
            liquidations,
            funding,
            "[11,[1.2,3]]",
            ticker,
            state,
            r#"[10,[["pos",143,5,null,"tETHF0:USTF0",-4.5,222.2,null,0,1,null,null],
            ["pos",143,5,null,"tETHF0:USTF0",-4.5,222.2,null,1,1,null,null]]]"#,
            r#"{"event":"info","version":2}"#,
        ],
    );

    assert_eq!(
        found,
        [
            "quotes bitfinex:MATIC:BTC 5 1564617600541000000 0.5 - 0.0000225 - -",
            "ticker bitfinex-derivatives:BTCF0:USTF0 6 5000000 8090.5 8196.9 8051.45 0.25 \
             0.000008 7000000 3005.25",
            "liquidations bitfinex-derivatives:ETHF0:USTF0 7 5000000 buy 222.2 4.5 143",
        ]
    );
}

#[test]
fn what_cannot_be_read_is_refused_and_tears_books_only() {
    for (message, reason, torn) in [
        ("[", "message", true),
        ("[7]", "content", true),
        ("{}", "event", true),
        (r#"["x",[]]"#, "integer", true),
        (r#"[7,[216,0.5,1],2]"#, "0.5", true),
        (r#"[7,[216,1,"x"],2]"#, "x", true),
        (r#"[7,"xx",1,2]"#, "xx", true),
        (r#"[8,"te",[1],2]"#, "message", false),
        (r#"[99,[1,1,1],2]"#, "99", false),
    ] {
        let mut dialect = new_dialect(&VENUE);
        let mut rows = Rows::new();
        try_feed(&mut *dialect, &[BOOK, TRADES, SNAPSHOT], &mut rows).unwrap();

        let (error, is_torn) = refused(&mut *dialect, message);

        assert!(error.contains(reason), "{message}: {error}");
        assert_eq!(is_torn, torn, "{message}");
    }
}

#[test]
fn a_new_connection_numbers_its_channels_anew() {
    let mut dialect = new_dialect(&VENUE);
    let mut rows = Rows::new();
    try_feed(&mut *dialect, &[BOOK, SNAPSHOT], &mut rows).unwrap();
    let connected = Frame::Connected { url: "wss://api.bitfinex.com/ws/2" };
    dialect.frame(TsNs(3), CONNECTION, &connected, &mut rows).unwrap();

    assert!(try_feed(&mut *dialect, &[SNAPSHOT], &mut rows).is_err());
    try_feed(&mut *dialect, &[BOOK, SNAPSHOT], &mut rows).unwrap();

    let found = texts(&mut rows);
    assert!(found.iter().any(|row| row.ends_with("gap connection lost")), "{found:?}");
    assert!(found.iter().any(|row| row.ends_with("resync venue snapshot")), "{found:?}");
}

#[test]
fn bitfinex_is_recognised() {
    assert_eq!((VENUE.recognise)(&Clue::Message(BOOK.as_bytes())), Some(SPOT));
    assert_eq!((VENUE.recognise)(&Clue::Message(b"[1,2]")), None);
    assert_eq!((VENUE.recognise)(&Clue::Url("wss://api.bitfinex.com/ws/2")), Some(SPOT));
    assert_eq!((VENUE.recognise)(&Clue::CaptureName("BITFINEX")), Some(SPOT));
}
