//! Every venue: answers in its words, its topics in order, and a book that stands after a
//! resubscription or over REST as the captured messages left it.

use tickreel_venue::book::{Book, Side};
use tickreel_venue::{Pace, Script, Start, protocol};

use crate::client::{Client, captured, get, request, venue};

/// How one venue is asked.
pub struct Case {
    pub exchange: &'static str,
    pub capture: &'static str,
    pub path: &'static str,
    /// Texts before the first answer.
    pub greetings: usize,
    pub topic: &'static str,
    pub subscribe: &'static str,
    pub unsubscribe: &'static str,
    /// What the answers to both hold.
    answered: &'static str,
    /// A subscription to what there is not, and what the refusal holds.
    unknown: (&'static str, &'static str),
    /// A heartbeat and what its answer holds.
    ping: (&'static str, &'static str),
    /// The book over REST; empty where it comes in the stream.
    pub snapshot: &'static str,
    /// The listing and how it names the symbol.
    listing: (&'static str, &'static str),
}

pub const CASES: &[Case] = &[
    Case {
        exchange: "okex",
        capture: "okx-ws/OKX_20220227_books-l2-tbt.ws.zst",
        path: "/ws/v5/public",
        greetings: 0,
        topic: "books:UNI-USD-SWAP",
        subscribe: r#"{"op":"subscribe","args":[{"channel":"books","instId":"UNI-USD-SWAP"}]}"#,
        unsubscribe: r#"{"op":"unsubscribe","args":[{"channel":"books","instId":"UNI-USD-SWAP"}]}"#,
        answered: r#"subscribe","arg":{"#,
        unknown: (r#"{"op":"subscribe","args":[{"channel":"books","instId":"X-Y"}]}"#, "60018"),
        ping: ("ping", "pong"),
        snapshot: "",
        listing: ("/api/v5/public/instruments?instType=SWAP", r#""instId":"UNI-USD-SWAP""#),
    },
    Case {
        exchange: "bybit",
        capture: "bybit-ws/BYBIT.jsonl.zst",
        path: "/v5/public/linear",
        greetings: 0,
        topic: "linear orderbook.200.ETHUSDT",
        subscribe: r#"{"req_id":"1","op":"subscribe","args":["orderbook.200.ETHUSDT"]}"#,
        unsubscribe: r#"{"req_id":"1","op":"unsubscribe","args":["orderbook.200.ETHUSDT"]}"#,
        answered: r#""success":true"#,
        unknown: (r#"{"op":"subscribe","args":["orderbook.200.XX"]}"#, "handler not found"),
        ping: (r#"{"op":"ping"}"#, r#""ret_msg":"pong""#),
        snapshot: "",
        listing: ("/v5/market/instruments-info?category=linear", r#""symbol":"ETHUSDT""#),
    },
    Case {
        exchange: "coinbase",
        capture: "coinbase-ws/COINBASE.jsonl.zst",
        path: "/",
        greetings: 0,
        topic: "level2:ETH-USD",
        subscribe: r#"{"type":"subscribe","channel":"level2","product_ids":["ETH-USD"]}"#,
        unsubscribe: r#"{"type":"unsubscribe","channel":"level2","product_ids":["ETH-USD"]}"#,
        answered: r#"{"channel":"subscriptions""#,
        unknown: (
            r#"{"type":"subscribe","channel":"level2","product_ids":["X"]}"#,
            r#""type":"error""#,
        ),
        ping: ("", ""),
        snapshot: "",
        listing: (
            "/api/v3/brokerage/market/products?product_type=SPOT",
            r#""product_id":"ETH-USD""#,
        ),
    },
    Case {
        exchange: "kraken",
        capture: "kraken-ws/KRAKEN.jsonl.zst",
        path: "/v2",
        greetings: 1,
        topic: "book:BTC/CHF",
        subscribe: concat!(
            r#"{"method":"subscribe","params":{"channel":"book","symbol":["BTC/CHF"],"#,
            r#""depth":1000},"req_id":3}"#
        ),
        unsubscribe: concat!(
            r#"{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/CHF"],"#,
            r#""depth":1000},"req_id":3}"#
        ),
        answered: r#""success":true"#,
        unknown: (
            r#"{"method":"subscribe","params":{"channel":"book","symbol":["X/Y"],"depth":1000}}"#,
            "Currency pair not supported X/Y",
        ),
        ping: (r#"{"method":"ping","req_id":4}"#, r#"{"method":"pong","req_id":4"#),
        snapshot: "",
        listing: ("/0/public/AssetPairs", r#""wsname":"XBT/CHF""#),
    },
    Case {
        exchange: "bitget",
        capture: "bitget-ws/BITGET.jsonl.zst",
        path: "/v2/ws/public",
        greetings: 0,
        topic: "USDT-FUTURES:books:UNIUSDT",
        subscribe: concat!(
            r#"{"op":"subscribe","args":[{"instType":"USDT-FUTURES","channel":"books","#,
            r#""instId":"UNIUSDT"}]}"#
        ),
        unsubscribe: concat!(
            r#"{"op":"unsubscribe","args":[{"instType":"USDT-FUTURES","#,
            r#""channel":"books","instId":"UNIUSDT"}]}"#
        ),
        answered: r#"subscribe","arg":{"#,
        unknown: (
            r#"{"op":"subscribe","args":[{"instType":"SPOT","channel":"books","instId":"X"}]}"#,
            "30001",
        ),
        ping: ("ping", "pong"),
        snapshot: "",
        listing: (
            "/api/v2/mix/market/contracts?productType=USDT-FUTURES",
            r#"{"symbol":"UNIUSDT","symbolStatus":"normal"}"#,
        ),
    },
    Case {
        exchange: "deribit",
        capture: "deribit-ws/DERIBIT.jsonl.zst",
        path: "/ws/api/v2",
        greetings: 0,
        topic: "book.BTC-24SEP21-8000-P.100ms",
        subscribe: concat!(
            r#"{"jsonrpc":"2.0","id":2,"method":"public/subscribe","params":{"#,
            r#""channels":["book.BTC-24SEP21-8000-P.100ms"]}}"#
        ),
        unsubscribe: concat!(
            r#"{"jsonrpc":"2.0","id":2,"method":"public/unsubscribe","params":{"#,
            r#""channels":["book.BTC-24SEP21-8000-P.100ms"]}}"#
        ),
        answered: r#""id":2,"result":["book.BTC-24SEP21-8000-P.100ms"]"#,
        unknown: (
            concat!(
                r#"{"jsonrpc":"2.0","id":2,"method":"public/subscribe","params":{"#,
                r#""channels":["book.X.100ms"]}}"#
            ),
            r#""result":[]"#,
        ),
        ping: (r#"{"jsonrpc":"2.0","id":9,"method":"public/test"}"#, r#""version""#),
        snapshot: "",
        listing: (
            "/api/v2/public/get_instruments?currency=any&expired=false",
            r#""instrument_name":"BTC-24SEP21-8000-P""#,
        ),
    },
    Case {
        exchange: "kucoin",
        capture: "kucoin-ws/KUCOIN.jsonl.zst",
        path: "/endpoint?token=2neAiuYvAU61",
        greetings: 1,
        topic: "/market/level2:FET-BTC",
        subscribe: concat!(
            r#"{"id":"5","type":"subscribe","topic":"/market/level2:FET-BTC","#,
            r#""response":true}"#
        ),
        unsubscribe: concat!(
            r#"{"id":"5","type":"unsubscribe","topic":"/market/level2:FET-BTC","#,
            r#""response":true}"#
        ),
        answered: r#"{"id":"5","type":"ack"}"#,
        unknown: (r#"{"id":"5","type":"subscribe","topic":"/market/level2:X-Y"}"#, "is not found"),
        ping: (r#"{"id":"6","type":"ping"}"#, r#"{"id":"6","type":"pong"}"#),
        snapshot: "/api/v1/market/orderbook/level2_100?symbol=FET-BTC",
        listing: ("/api/v2/symbols", r#""symbol":"FET-BTC","enableTrading":true"#),
    },
    Case {
        exchange: "gate-io",
        capture: "gateio-ws/GATEIO.jsonl.zst",
        path: "/ws/v4/",
        greetings: 0,
        topic: "order_book_update:OMG_USDT",
        subscribe: concat!(
            r#"{"time":1,"channel":"spot.order_book_update","event":"subscribe","#,
            r#""payload":["OMG_USDT","100ms"]}"#
        ),
        unsubscribe: concat!(
            r#"{"time":1,"channel":"spot.order_book_update","event":"unsubscribe","#,
            r#""payload":["OMG_USDT","100ms"]}"#
        ),
        answered: r#""result":{"status":"success"}"#,
        unknown: (
            r#"{"time":1,"channel":"spot.trades","event":"subscribe","payload":["X_Y"]}"#,
            "unknown currency pair: X_Y",
        ),
        ping: (r#"{"time":1,"channel":"spot.ping"}"#, r#""channel":"spot.pong""#),
        snapshot: "/api/v4/spot/order_book?currency_pair=OMG_USDT&limit=100&with_id=true",
        listing: ("/api/v4/spot/currency_pairs", r#""id":"OMG_USDT""#),
    },
    Case {
        exchange: "gate-io-futures",
        capture: "gateio-ws/GATEIO_FUTURES.jsonl.zst",
        path: "/v4/ws/usdt",
        greetings: 0,
        topic: "order_book_update:RDNT_USDT",
        subscribe: concat!(
            r#"{"time":1,"channel":"futures.order_book_update","event":"subscribe","#,
            r#""payload":["RDNT_USDT","100ms","100"]}"#
        ),
        unsubscribe: concat!(
            r#"{"time":1,"channel":"futures.order_book_update","event":"unsubscribe","#,
            r#""payload":["RDNT_USDT","100ms","100"]}"#
        ),
        answered: r#""result":{"status":"success"}"#,
        unknown: (
            r#"{"time":1,"channel":"futures.trades","event":"subscribe","payload":["X_USDT"]}"#,
            "unknown contract: X_USDT",
        ),
        ping: (r#"{"time":1,"channel":"futures.ping"}"#, r#""channel":"futures.pong""#),
        snapshot: "/api/v4/futures/usdt/order_book?contract=RDNT_USDT&limit=100&with_id=true",
        listing: ("/api/v4/futures/usdt/contracts", r#""name":"RDNT_USDT""#),
    },
    Case {
        exchange: "bitstamp",
        capture: "bitstamp-ws/BITSTAMP.jsonl.zst",
        path: "/",
        greetings: 0,
        topic: "diff_order_book_ethusd",
        subscribe: r#"{"event":"bts:subscribe","data":{"channel":"diff_order_book_ethusd"}}"#,
        unsubscribe: r#"{"event":"bts:unsubscribe","data":{"channel":"diff_order_book_ethusd"}}"#,
        answered: "subscription_succeeded",
        unknown: (
            r#"{"event":"bts:subscribe","data":{"channel":"diff_order_book_xy"}}"#,
            "bts:error",
        ),
        ping: (r#"{"event":"bts:heartbeat"}"#, r#""status":"success""#),
        snapshot: "/api/v2/order_book/ethusd/",
        listing: ("/api/v2/markets/", r#""market_symbol":"ethusd""#),
    },
    Case {
        exchange: "bitmex",
        capture: "bitmex-ws/BITMEX_20210722.ws.zst",
        path: "/realtime",
        greetings: 1,
        topic: "orderBookL2:XBTUSD",
        subscribe: r#"{"op":"subscribe","args":["orderBookL2:XBTUSD"]}"#,
        unsubscribe: r#"{"op":"unsubscribe","args":["orderBookL2:XBTUSD"]}"#,
        answered: r#""success":true"#,
        unknown: (
            r#"{"op":"subscribe","args":["orderBookL2:X"]}"#,
            r#""error":"Unknown or expired symbol.""#,
        ),
        ping: ("ping", "pong"),
        snapshot: "",
        listing: ("/api/v1/instrument/active", r#""symbol":"XBTUSD""#),
    },
    Case {
        exchange: "cryptofacilities",
        capture: "kraken-futures-ws/KRAKEN_FUTURES.jsonl.zst",
        path: "/ws/v1",
        greetings: 1,
        topic: "book:PI_ETHUSD",
        subscribe: r#"{"event":"subscribe","feed":"book","product_ids":["PI_ETHUSD"]}"#,
        unsubscribe: r#"{"event":"unsubscribe","feed":"book","product_ids":["PI_ETHUSD"]}"#,
        answered: r#"subscribed","feed":"book","product_ids":["PI_ETHUSD"]"#,
        unknown: (
            r#"{"event":"subscribe","feed":"book","product_ids":["PI_X"]}"#,
            "Invalid product id",
        ),
        ping: ("", ""),
        snapshot: "",
        listing: ("/derivatives/api/v3/instruments", r#""symbol":"PI_ETHUSD""#),
    },
    Case {
        exchange: "bitfinex",
        capture: "bitfinex-ws/BITFINEX.jsonl.zst",
        path: "/ws/2",
        greetings: 1,
        topic: "book:tTESTBTC:TESTUSD",
        subscribe: concat!(
            r#"{"event":"subscribe","channel":"book","symbol":"tTESTBTC:TESTUSD","#,
            r#""prec":"P0","freq":"F0","len":"250"}"#
        ),
        unsubscribe: r#"{"event":"unsubscribe","chanId":200007}"#,
        answered: r#"ubscribed""#,
        unknown: (r#"{"event":"subscribe","channel":"book","symbol":"tNONE"}"#, "symbol: invalid"),
        ping: (r#"{"event":"ping","cid":8}"#, r#""cid":8"#),
        snapshot: "",
        listing: ("/v2/conf/pub:list:pair:exchange", r#""TESTBTC:TESTUSD""#),
    },
    Case {
        exchange: "hyperliquid",
        capture: "hyperliquid-ws/btcusd_20250126.gz",
        path: "/ws",
        greetings: 0,
        topic: "l2Book:BTC",
        subscribe: r#"{"method":"subscribe","subscription":{"type":"l2Book","coin":"BTC"}}"#,
        unsubscribe: r#"{"method":"unsubscribe","subscription":{"type":"l2Book","coin":"BTC"}}"#,
        answered: r#"{"channel":"subscriptionResponse""#,
        unknown: (
            r#"{"method":"subscribe","subscription":{"type":"l2Book","coin":"NO"}}"#,
            r#""channel":"error""#,
        ),
        ping: (r#"{"method":"ping"}"#, r#"{"channel":"pong"}"#),
        snapshot: "",
        listing: ("", ""),
    },
];

/// The text without what is of a connection: its numbers.
fn of_no_connection(exchange: &str, text: &str) -> String {
    match exchange {
        "coinbase" => {
            let number = tickreel_venue::json::between(text, "\"sequence_num\":", ",");
            text.replacen(&format!("_num\":{},", number.unwrap_or("")), "_num\":0,", 1)
        }
        "bitfinex" => {
            let text = text.strip_prefix("[200007,").or_else(|| text.strip_prefix("[200014,"));
            text.and_then(|text| text.strip_suffix(']')).unwrap_or("another channel").to_owned()
        }
        _ => text.to_owned(),
    }
}

fn levels(book: &Book) -> [String; 2] {
    [Side::Bid, Side::Ask]
        .map(|side| book.write(side, usize::MAX, |level| format!("{} {}", level.price, level.qty)))
}

/// What a client holds that hears these texts.
fn folded(exchange: &str, texts: &[String]) -> Book {
    let protocol = protocol::of_exchange(exchange).unwrap();
    let mut book = Book::default();
    for text in texts {
        protocol.fold(&mut book, text);
    }
    book
}

async fn subscribes_twice(case: &Case, script: Script) {
    let exchange = case.exchange;
    let texts: Vec<String> = script
        .texts_of(case.topic)
        .map(|text| {
            of_no_connection(
                exchange,
                &format!(
                    "{}{text}{}",
                    if exchange == "bitfinex" { "[200007," } else { "" },
                    if exchange == "bitfinex" { "]" } else { "" }
                ),
            )
        })
        .collect();
    assert!(texts.len() > 2, "{exchange}: {} texts of {}", texts.len(), case.topic);
    let venue = venue(exchange, script, Pace::FlatOut, Start::When(1)).await;
    let mut client = Client::connect(&venue, case.path).await;
    client.texts(case.greetings).await;

    let (text, refused) = case.unknown;
    client.say(text).await;
    let answer = client.text().await;
    assert!(answer.contains(refused), "{exchange}: {answer}");
    if !case.ping.0.is_empty() {
        client.say(case.ping.0).await;
        let answer = client.text().await;
        assert!(answer.contains(case.ping.1), "{exchange}: {answer}");
    }

    client.say(case.subscribe).await;
    let answer = client.text().await;
    assert!(answer.contains(case.answered), "{exchange}: {answer}");
    let heard = client.texts(texts.len()).await;
    let heard: Vec<String> = heard.iter().map(|text| of_no_connection(exchange, text)).collect();
    assert!(heard == texts, "{exchange}: {:?}", heard.iter().zip(&texts).find(|(a, b)| a != b));

    venue.finished().await;
    client.say(case.unsubscribe).await;
    let answer = client.text().await;
    assert!(answer.contains(case.answered), "{exchange}: {answer}");
    client.say(case.subscribe).await;
    let answer = client.text().await;
    assert!(answer.contains(case.answered), "{exchange}: {answer}");
    let book = venue.book(case.topic).unwrap();
    if case.snapshot.is_empty() {
        let fresh = of_no_connection(exchange, &client.text().await);
        let again = folded(exchange, std::slice::from_ref(&fresh));
        if exchange == "hyperliquid" {
            assert_eq!(Some(&fresh), texts.last());
        } else if exchange == "bitmex" {
            let rows = |book: &Book| format!("{:?}", book.rows);
            assert!(book.rows.len() > 100 && rows(&again) == rows(&book));
        } else {
            assert!(again.is_whole && levels(&again) == levels(&book), "{exchange}");
            assert!(levels(&book)[0].len() > 10, "{exchange}: an empty book");
        }
        assert_eq!(again.seq, book.seq);
    }
    client.nothing().await;
}

#[tokio::test]
async fn every_venue_plays_its_topic_and_tells_a_late_subscriber_how_it_stands() {
    for case in CASES {
        let Some(script) = captured(case.exchange, case.capture) else { continue };
        subscribes_twice(case, script).await;
    }
}

#[tokio::test]
async fn snapshots_over_rest_are_captured_ones_first_and_then_the_book() {
    for case in CASES.iter().filter(|case| !case.snapshot.is_empty()) {
        let exchange = case.exchange;
        let Some(script) = captured(exchange, case.capture) else { continue };
        let protocol = protocol::of_exchange(exchange).unwrap();
        let venue = venue(exchange, script, Pace::FlatOut, Start::When(1)).await;
        let mut client = Client::connect(&venue, case.path).await;
        client.texts(case.greetings).await;
        client.say(case.subscribe).await;
        venue.finished().await;

        let of = |body: &str| {
            let mut book = Book::default();
            protocol.fold_reply(&mut book, body);
            assert!(book.is_whole, "{exchange}: {body}");
            book
        };
        let first = of(&get(&venue, case.snapshot).await.2);
        let second = of(&get(&venue, case.snapshot).await.2);
        let mut book = venue.book(case.topic).unwrap();

        assert!(first.seq < second.seq, "{exchange}: {} {}", first.seq, second.seq);
        assert_eq!(second.seq, book.seq, "{exchange}");
        if exchange != "bitstamp" {
            book.cut(100);
        }
        assert!(levels(&second) == levels(&book), "{exchange}");
    }
}

#[tokio::test]
async fn listings_name_what_is_traded() {
    for case in CASES.iter().filter(|case| !case.listing.0.is_empty()) {
        let Some(script) = captured(case.exchange, case.capture) else { continue };
        let venue = venue(case.exchange, script, Pace::FlatOut, Start::Go).await;
        let (status, _, body) = get(&venue, case.listing.0).await;
        assert!(status == 200 && body.contains(case.listing.1), "{}: {body}", case.exchange);
    }
}

#[tokio::test]
async fn the_ticket_of_kucoin_leads_to_the_venue() {
    let Some(script) = captured("kucoin", "kucoin-ws/KUCOIN.jsonl.zst") else { return };
    let venue = venue("kucoin", script, Pace::FlatOut, Start::Go).await;
    let (status, _, body) = request(&venue, "POST", "/api/v1/bullet-public").await;
    assert_eq!(status, 200);
    assert!(body.contains(&format!("\"endpoint\":\"{}/endpoint\"", venue.stream_url())), "{body}");

    let mut without = Client::connect(&venue, "/endpoint").await;
    assert_eq!(u16::from(without.closed().await.unwrap().code), 4401);
}

/// Every checksum of version 2 that was made of a capture of version 1 holds.
#[tokio::test]
async fn converted_books_keep_the_checksums_of_their_venue() {
    use tickreel::ingest::checksum;

    let cases = [
        ("kraken", "kraken-ws/KRAKEN.jsonl.zst", "book:"),
        ("bitget", "bitget-ws/BITGET.jsonl.zst", "books:"),
    ];
    for (exchange, capture, name) in cases {
        let Some(script) = captured(exchange, capture) else { return };
        let protocol = protocol::of_exchange(exchange).unwrap();
        let mut checked = 0;
        for topic in script.topics.iter().filter(|topic| topic.name.contains(name)) {
            let mut book = Book::default();
            for text in script.texts_of(&topic.name) {
                protocol.fold(&mut book, text);
                let sum = tickreel_venue::json::between(text, "\"checksum\":", "}").unwrap();
                let sum = sum.split(',').next().unwrap();
                let found = match exchange {
                    "kraken" => {
                        checksum::kraken(book.bare(Side::Bid), book.bare(Side::Ask)).to_string()
                    }
                    _ => checksum::okx(book.bare(Side::Bid), book.bare(Side::Ask)).to_string(),
                };
                assert_eq!(sum, found, "{} {checked}", topic.name);
                checked += 1;
            }
        }
        assert!(checked > 600, "{exchange}: {checked}");
    }
}
