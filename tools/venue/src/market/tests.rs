//! A venue without sockets, played step by step.

use super::*;
use crate::fault::Fault;
use crate::protocol::{Read, Request, of_exchange};

const SECOND_NS: i64 = 1_000_000_000;
const SUBSCRIBE: &str = r#"{"op":"subscribe","args":[{"channel":"books","instId":"A-B"}]}"#;
const UNSUBSCRIBE: &str = r#"{"op":"unsubscribe","args":[{"channel":"books","instId":"A-B"}]}"#;

/// An OKX book: a snapshot at 0 s, a change at 1 s, a snapshot at `again_s`, a change after it.
fn okx(again_s: i64) -> Market {
    let protocol = of_exchange("okex").unwrap();
    let message = |action: &str, price: i64| {
        let arg = r#"{"channel":"books","instId":"A-B"}"#;
        let asks = format!(r#"[["{price}","1","0","1"]]"#);
        let numbers = format!(r#""seqId":{price},"prevSeqId":1"#);
        let data = format!(r#"{{"asks":{asks},"bids":[],"ts":"1",{numbers}}}"#);
        format!(r#"{{"arg":{arg},"action":"{action}","data":[{data}]}}"#)
    };
    let lines = [
        (0, message("snapshot", 10)),
        (1, message("update", 11)),
        (again_s, message("snapshot", 12)),
        (again_s + 1, message("update", 13)),
    ];
    let read = |(second, text): &(i64, String)| {
        let read = protocol.read(&mut Default::default(), "", text);
        read.into_iter().map(|read| (second * SECOND_NS, read)).collect::<Vec<_>>()
    };
    let script = Script::of_lines(lines.iter().flat_map(read).collect());
    Market::new(protocol, script, Start::Go, Some(Limits::NONE), 1)
}

/// A USD-M book: changes 11 to 15 at 0 to 4 s, a REST snapshot at 12 taken at 2 s.
fn binance() -> Market {
    let protocol = of_exchange("binance-futures").unwrap();
    let topic = "ab@depth@100ms".to_owned();
    let mut lines: Vec<(i64, Read)> = (11..16)
        .flat_map(|id| {
            let numbers = format!(r#""U":{id},"u":{id},"pu":{}"#, id - 1);
            let levels = format!(r#""b":[["{id}","1"]],"a":[]"#);
            let data = format!(r#"{{"e":"depthUpdate","E":1,"s":"AB",{numbers},{levels}}}"#);
            let text = format!(r#"{{"stream":"ab@depth@0ms","data":{data}}}"#);
            let read = protocol.read(&mut Default::default(), "", &text);
            read.into_iter().map(move |read| ((id - 11) * SECOND_NS, read)).collect::<Vec<_>>()
        })
        .collect();
    let body = r#"{"lastUpdateId":12,"E":1,"T":1,"bids":[["5","1"]],"asks":[]}"#.to_owned();
    lines.push((2 * SECOND_NS, Read::Reply { topic, symbol: "AB".to_owned(), body }));
    let script = Script::of_lines(lines);
    Market::new(protocol, script, Start::Go, Some(Limits::NONE), 1)
}

fn depth() -> Request {
    let query = vec![("symbol".to_owned(), "AB".to_owned()), ("limit".to_owned(), "9".to_owned())];
    Request { path: "/fapi/v1/depth".to_owned(), query, ..Request::default() }
}

/// The texts that wait in an outbox.
fn texts(outbox: &Outbox) -> Vec<String> {
    let (mut bytes, mut texts) = (Vec::new(), Vec::new());
    outbox.take(&mut bytes);
    while let Some((opcode, payload)) = frame::take(&mut bytes).unwrap() {
        if opcode == frame::TEXT {
            texts.push(String::from_utf8(payload).unwrap());
        }
    }
    texts
}

fn client(market: &mut Market, path: &str) -> (u64, Arc<Outbox>) {
    let outbox = Arc::new(Outbox::default());
    (market.open(path, outbox.clone()).unwrap(), outbox)
}

#[test]
fn who_comes_shortly_before_a_snapshot_of_the_script_waits_for_it() {
    for (again_s, expected) in [(9, vec!["12", "13"]), (99, vec!["10", "12", "13"])] {
        let mut market = okx(again_s);
        let (id, outbox) = client(&mut market, "/ws/v5/public");
        market.go();
        market.play(SECOND_NS, 9);
        assert!(texts(&outbox).is_empty());

        market.hear(id, SUBSCRIBE);
        market.play(i64::MAX, 9);

        let texts = texts(&outbox);
        let first_asks = texts[1..]
            .iter()
            .map(|text| crate::json::between(text, "\"asks\":[[\"", "\"").unwrap().to_owned());
        assert_eq!(first_asks.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn an_unsubscribed_topic_is_silent() {
    let mut market = okx(2);
    let (id, outbox) = client(&mut market, "/ws/v5/public");
    market.hear(id, SUBSCRIBE);
    market.play(0, 9);
    market.hear(id, UNSUBSCRIBE);
    market.play(i64::MAX, 9);

    assert_eq!(texts(&outbox).len(), 3);
    assert!(market.subscribed().is_empty());
}

#[test]
fn a_captured_reply_waits_for_its_time_and_is_given_once() {
    let mut market = binance();
    let (id, _) = client(&mut market, "/stream");
    market.hear(id, r#"{"method":"SUBSCRIBE","params":["ab@depth"],"id":1}"#);
    market.go();
    market.play(SECOND_NS, 9);
    assert_eq!(market.rest(&depth()), None);
    market.play(2 * SECOND_NS, 9);
    assert!(market.rest(&depth()).unwrap().1.contains(r#""lastUpdateId":12,"#));

    let (_, body) = market.rest(&depth()).unwrap();

    // Changes 12 and before are in the captured snapshot, 13 came after it.
    assert!(body.contains(r#""lastUpdateId":13,"#), "{body}");
    assert!(body.contains(r#""bids":[["13","1"],["5","1"]]"#), "{body}");
}

#[test]
fn after_a_restart_changes_and_snapshots_count_from_one() {
    let mut market = binance();
    market.go();
    market.play(3 * SECOND_NS, 9);
    let (old, _) = client(&mut market, "/stream");

    market.fault(&Fault::Restart).unwrap();

    assert!(!market.counters.connections[old as usize].is_open);
    let (id, outbox) = client(&mut market, "/stream");
    market.hear(id, r#"{"method":"SUBSCRIBE","params":["ab@depth"],"id":1}"#);
    assert!(market.rest(&depth()).unwrap().1.contains(r#""lastUpdateId":1,"#));
    market.play(i64::MAX, 9);
    assert!(texts(&outbox)[1].contains(r#""U":2,"u":2,"pu":1,"#));
}

#[test]
fn too_many_topics_and_connections_are_cut_off() {
    let mut market = okx(2);
    market.limits.topics = 0;
    market.limits.connections = (1, Duration::from_secs(60));
    let (id, outbox) = client(&mut market, "/ws/v5/public");
    market.hear(id, SUBSCRIBE);
    let mut bytes = Vec::new();
    assert_eq!(outbox.take(&mut bytes), Some(End::Closed));
    assert_eq!(market.open("/", Arc::new(Outbox::default())), Err(429));
    assert_eq!(market.counters.cut_off.len(), 2);
}

#[test]
fn a_client_that_reads_slowly_holds_the_playing_up() {
    let mut market = okx(2);
    let (_, outbox) = client(&mut market, "/ws/v5/public");
    market.go();
    outbox.push(|out| out.resize(2 << 20, 0));
    assert!(matches!(market.play(0, 1), Next::Room(_)));
    outbox.take(&mut Vec::new());
    assert!(matches!(market.play(0, 9), Next::At(SECOND_NS)));
}

#[test]
fn books_of_later_laps_stand_as_a_client_holds_them() {
    let mut market = binance();
    market.laps_left = 3;
    let (id, outbox) = client(&mut market, "/stream");
    market.hear(id, r#"{"method":"SUBSCRIBE","params":["ab@depth"],"id":1}"#);
    market.go();
    market.play(i64::MAX, 5 + 1 + 5 + 1 + 2);

    // Two laps of five changes and two of the third: 10 + 12 changes were made.
    assert!(texts(&outbox).last().unwrap().contains(r#""U":22,"u":22,"pu":21,"#));
    let (_, body) = market.rest(&depth()).unwrap();
    assert!(body.contains(r#""lastUpdateId":22,"#), "{body}");
    assert!(body.contains(r#"[["15","1"],["14","1"],["13","1"]"#), "{body}");
}
