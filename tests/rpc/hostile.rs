//! Clients that speak HTTP/2 to do harm. Each attack is bounded, and another client is served
//! after it.

use std::time::{Duration, Instant};

use tickreel::rpc::{BookQuery, Client, ServeOptions};
use tickreel::{TsNs, limit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::market::{Market, Served, btc};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A header that is neither indexed nor compressed.
fn header(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.push(u8::try_from(text.len()).unwrap());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// The headers of a request for a book.
fn request() -> Vec<u8> {
    request_to("/tickreel.v1.Tickreel/GetBook")
}

/// The headers of a request to a method.
pub fn request_to(path: &str) -> Vec<u8> {
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .iter()
    .flat_map(|(name, value)| header(name, value))
    .collect()
}

/// A connection that has begun properly.
async fn begun(served: &Served) -> TcpStream {
    let address = served.url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// Sends `bytes` again and again; how many bytes the server took before it hung up, `None` if it
/// took `max`.
async fn sent_until_closed(stream: TcpStream, bytes: &[u8], max: usize) -> Option<usize> {
    let (mut answers, mut requests) = stream.into_split();
    // Answers are read, so that only what is sent can be the reason.
    let reader = tokio::spawn(async move {
        let mut buffer = vec![0; 1 << 16];
        while !matches!(answers.read(&mut buffer).await, Ok(0) | Err(_)) {}
    });
    let mut sent = 0;
    while sent < max {
        if reader.is_finished() || requests.write_all(bytes).await.is_err() {
            return Some(sent);
        }
        sent += bytes.len();
    }
    let closed = tokio::time::timeout(Duration::from_secs(20), reader).await;
    closed.is_ok().then_some(sent)
}

async fn assert_served(served: &Served) {
    let query = BookQuery { instrument: btc(), at: TsNs::MAX, depth: Some(1) };
    let begun = Instant::now();
    served.client.book(&query).await.unwrap();
    assert!(Client::connect(&served.url).await.unwrap().book(&query).await.is_ok());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// A proper request, which is answered: what is refused later is not refused for its form.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &request())).await.unwrap();
    stream.write_all(&frame(DATA, END_STREAM, 1, &[0; 5])).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == HEADERS && u32::from_be_bytes([head[5], head[6], head[7], head[8]]) == 1 {
            return;
        }
    }
}

async fn attack(what: &str, attack: impl AsyncFnOnce(TcpStream) -> Option<usize>) {
    let market = Market::new(50);
    let served = market.serve().await;
    let mut stream = begun(&served).await;
    ask(&mut stream).await;
    let closed_after = attack(stream).await;
    assert!(closed_after.is_some(), "{what}: the server let it go on");
    assert_served(&served).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_close_the_connection() {
    attack("continuations", async |mut stream| {
        stream.write_all(&frame(HEADERS, 0, 3, &request())).await.unwrap();
        let more = frame(CONTINUATION, 0, 3, &header("x", &"y".repeat(100)));
        sent_until_closed(stream, &more, 64 << 20).await
    })
    .await;
    attack("empty continuations", async |mut stream| {
        stream.write_all(&frame(HEADERS, 0, 3, &request())).await.unwrap();
        sent_until_closed(stream, &frame(CONTINUATION, 0, 3, &[]).repeat(1000), 64 << 20).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_taken_back_at_once_close_the_connection() {
    attack("resets", async |stream| {
        let (mut answers, mut requests) = stream.into_split();
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while !matches!(answers.read(&mut buffer).await, Ok(0) | Err(_)) {}
        });
        for number in 0..100_000u32 {
            let id = 2 * number + 3;
            let mut both = frame(HEADERS, END_HEADERS, id, &request());
            both.extend(frame(RST_STREAM, 0, id, &8u32.to_be_bytes()));
            if reader.is_finished() || requests.write_all(&both).await.is_err() {
                return Some(number as usize);
            }
        }
        None
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_frames_without_end_close_the_connection() {
    attack("empty data", async |mut stream| {
        stream.write_all(&frame(HEADERS, END_HEADERS, 3, &request())).await.unwrap();
        sent_until_closed(stream, &frame(DATA, 0, 3, &[]).repeat(1000), 256 << 20).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_at_once_than_allowed_are_refused_one_by_one() {
    let market = Market::new(50);
    let served = market.serve().await;
    let mut stream = begun(&served).await;
    for number in 0..10_000u32 {
        let open = frame(HEADERS, END_HEADERS, 2 * number + 1, &request());
        if stream.write_all(&open).await.is_err() {
            break;
        }
    }
    assert_served(&served).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_headers_are_refused_and_the_connection_serves_on() {
    let market = Market::new(50);
    let served = market.serve().await;
    let mut plain = served.plain().await;
    let mut large = tonic::Request::new(tickreel::rpc::proto::GetStatsRequest::default());
    let value = "x".repeat(limit::RPC_HEADER_BYTES_MAX as usize + 1).parse().unwrap();
    large.metadata_mut().insert("x-large", value);

    assert!(plain.get_stats(large).await.is_err());

    let small = tickreel::rpc::proto::GetStatsRequest::default();
    assert!(plain.get_stats(small).await.is_ok());
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_begin_to_speak_is_sent_away_and_who_comes_too_often_is_not_heard() {
    let market = Market::new(50);
    let options = ServeOptions { connections_per_address: Some(16), ..ServeOptions::default() };
    let served = Served::new(market.store.clone(), options).await;
    let address = served.url.trim_start_matches("http://").to_owned();
    // With the client's own connection there is room for 15 more.
    let mut silent = Vec::new();
    for number in 0..40 {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        // Some say a little.
        stream.write_all(&PREFACE[..number % 5]).await.unwrap();
        silent.push(stream);
    }
    let is_closed = async |stream: &mut TcpStream, wait_ms| {
        let mut buffer = [0; 64];
        let wait = Duration::from_millis(wait_ms);
        let read = async { while !matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {} };
        tokio::time::timeout(wait, read).await.is_ok()
    };
    let mut closed = 0;
    for stream in &mut silent[15..] {
        closed += usize::from(is_closed(stream, 2_000).await);
    }
    assert_eq!(closed, 25, "beyond the limit of an address");

    let begun = Instant::now();
    for stream in &mut silent[..15] {
        assert!(is_closed(stream, 4 * limit::RPC_HANDSHAKE_MS_MAX).await, "it may stay");
    }
    assert!(begun.elapsed() < Duration::from_millis(4 * limit::RPC_HANDSHAKE_MS_MAX));
    let query = BookQuery { instrument: btc(), at: TsNs::MAX, depth: Some(1) };
    assert!(Client::connect(&served.url).await.unwrap().book(&query).await.is_ok());
    served.stop().await;
}
