//! How many messages a venue sends in a second of one core when it plays as fast as a client reads.
//!
//! `cargo bench -p tickreel-venue [-- SECONDS]`: the best prices and trades of a made-up market, on
//! one connection to a client that only counts bytes; the venue has one thread.
#![allow(clippy::print_stdout, reason = "a program that prints")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use rustix::time::{ClockId, clock_gettime};
use tickreel::ingest::sample::MarketOptions;
use tickreel_venue::{Options, Pace, Script, Start, Venue, protocol};

/// Messages played at least, in the real run.
const MESSAGES: usize = 3_000_000;

fn main() {
    let is_real = std::env::args().any(|word| word == "--bench");
    let protocol = protocol::of_exchange("binance-futures").unwrap_or_else(|| unreachable!());
    let mut market = MarketOptions::new(3).unwrap_or_else(|error| panic!("{error}"));
    market.duration_ns = 20_000_000_000;
    let script = Script::of_sample(&*protocol, &market);
    let (script, _) = script.unwrap_or_else(|error| panic!("{error}"));
    let topics = ["btcusdt@bookTicker", "btcusdt@trade", "ethusdt@bookTicker", "ethusdt@trade"];
    let count: usize = topics.iter().map(|topic| script.texts_of(topic).count()).sum();
    let laps = if is_real { MESSAGES / count + 1 } else { 2 };
    let bytes: usize = topics.iter().flat_map(|topic| script.texts_of(topic)).map(str::len).sum();
    let path = format!("/stream?streams={}", topics.join("/"));

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("{error}"));
    let (sender, receiver) = std::sync::mpsc::channel();
    let client = std::thread::spawn(move || {
        let at = receiver.recv().unwrap_or_else(|error| panic!("{error}"));
        read_all(at, &path)
    });
    let (venue_seconds, sent) = runtime.block_on(async {
        let (pace, start) = (Pace::FlatOut, Start::When(topics.len()));
        let options = Options { pace, start, laps, ..Options::default() };
        let started = Venue::start(protocol, script, options).await;
        let venue = started.unwrap_or_else(|error| panic!("{error}"));
        let begin = cpu_seconds();
        let _ = sender.send(venue.address());
        venue.finished().await;
        let result = (cpu_seconds() - begin, venue.counters().messages);
        venue.fault(&tickreel_venue::Fault::Close(1000)).unwrap_or_else(|error| panic!("{error}"));
        while !client.is_finished() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        result
    });
    let heard = client.join().unwrap_or_else(|_| panic!("the client failed"));
    println!(
        "{sent} messages of {} bytes in {venue_seconds:.2} s of one core: {:.0} a second, \
         {heard} bytes heard",
        bytes / count,
        sent as f64 / venue_seconds
    );
}

/// CPU time of this thread: what else runs on the machine does not count.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Subscribes and reads to the end; how many bytes came.
fn read_all(at: SocketAddr, path: &str) -> usize {
    let mut stream = TcpStream::connect(at).unwrap_or_else(|error| panic!("{error}"));
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {at}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let mut buffer = vec![0; 1 << 18];
    let mut heard = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return heard,
            Ok(count) => heard += count,
        }
    }
}
