//! What no client may do: ask the impossible, learn where files lie, or harm another.

use std::time::{Duration, Instant};

use tickreel::event::Kind;
use tickreel::rpc::proto::{self, GetBookRequest, ScanRequest};
use tickreel::rpc::{BookQuery, Client, Event, ReplayQuery, ScanQuery, ServeOptions, serve};
use tickreel::{ErrorKind, limit};
use tokio::net::TcpListener;
use tonic::{Code, Status};

use crate::market::{Market, Served, btc};

/// Waits for something that other tasks bring about.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !holds().await {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} did not come true");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn book_request(instrument: &str, depth: u32) -> GetBookRequest {
    GetBookRequest { instrument: instrument.to_owned(), at_ns: 0, depth }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impossible_requests_are_refused_with_code_and_reason_and_without_paths() {
    let market = Market::new(100);
    let served = market.serve().await;
    let mut plain = served.plain().await;
    let root = market.store.root().to_str().unwrap().to_owned();
    let scan = |from_ns, to_ns, kind| ScanRequest {
        instrument: btc().to_string(),
        kind,
        from_ns,
        to_ns,
        ..ScanRequest::default()
    };
    let long = format!("binance:{}", "x".repeat(limit::SYMBOL_BYTES_MAX + 1));
    let too_deep = u32::try_from(limit::REQUEST_DEPTH_MAX + 1).unwrap();
    let books = [
        (book_request("binance-futures:ETHUSDT", 0), Code::NotFound, "binance-futures:BTCUSDT"),
        (book_request("binance:../../x", 0), Code::NotFound, "no instrument binance:../../x"),
        (book_request("../x", 0), Code::InvalidArgument, "instrument: "),
        (book_request("binance:a\0b", 0), Code::InvalidArgument, "instrument: "),
        (book_request("", 0), Code::InvalidArgument, "instrument: "),
        (book_request(&long, 0), Code::InvalidArgument, "above the limit 128"),
        (book_request(&btc().to_string(), too_deep), Code::ResourceExhausted, "100000"),
    ];
    let mut refused: Vec<(Status, Code, &str)> = Vec::new();
    for (request, code, text) in books {
        refused.push((plain.get_book(request).await.unwrap_err(), code, text));
    }
    let scans = [
        (scan(Some(7), Some(6), 1), Code::InvalidArgument, "from_ns: "),
        (scan(None, None, 0), Code::InvalidArgument, "kind: "),
        (scan(None, None, 99), Code::InvalidArgument, "kind: "),
        (scan(None, None, 4), Code::NotFound, "it has book, trades, status"),
    ];
    for (request, code, text) in scans {
        refused.push((plain.scan(request).await.unwrap_err(), code, text));
    }
    let sample = proto::SampleBooksRequest {
        instrument: btc().to_string(),
        from_ns: 0,
        to_ns: i64::MAX,
        every_ns: 1,
        depth: 0,
    };
    let status = plain.sample_books(sample).await.unwrap_err();
    refused.push((status, Code::ResourceExhausted, "10000000"));
    let pause = proto::replay_request::Command::Pause(proto::ReplayPause {});
    for command in [None, Some(pause)] {
        let requests = tokio_stream::once(proto::ReplayRequest { command });
        let status = plain.replay(requests).await.unwrap_err();
        refused.push((status, Code::InvalidArgument, "open: "));
    }

    let count = refused.len() as u64;
    for (status, code, text) in refused {
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(text), "{status:?}");
        assert!(!status.message().contains(&root), "{status:?}");
    }
    assert_eq!(served.client.stats().await.unwrap().failures, count);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_of_64_kib_is_read_and_a_longer_one_refused() {
    let market = Market::new(10);
    let served = market.serve().await;
    let mut plain = served.plain().await;
    // Tag and length of the field take 4 bytes.
    let fitting = "x".repeat(limit::RPC_REQUEST_BYTES_MAX - 4);

    let status = plain.get_book(book_request(&fitting, 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = plain.get_book(book_request(&format!("{fitting}x"), 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_data_loss_with_a_number_that_the_operator_is_told() {
    let market = Market::new(2000);
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let options = ServeOptions::default().on_incident({
        let seen = seen.clone();
        move |incident| seen.lock().unwrap().push((incident.number, incident.error.to_string()))
    });
    let served = Served::new(market.store.clone(), options).await;
    let mut files = Vec::new();
    let mut folders = vec![market.store.root().join("segments")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    for file in &files {
        let mut bytes = std::fs::read(file).unwrap();
        let middle = bytes.len() / 3;
        bytes[middle..middle + 64].iter_mut().for_each(|byte| *byte ^= 0x55);
        std::fs::remove_file(file).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    let mut scan = served.client.scan(&ScanQuery::all(btc(), Kind::Book)).await.unwrap();
    let error = loop {
        match scan.next_batch().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("damage was not seen"),
            Err(error) => break error,
        }
    };

    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.text().contains("(incident 1)"), "{error}");
    let root = market.store.root().to_str().unwrap();
    assert!(!error.to_string().contains(root), "{error}");
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0].0, 1);
    assert!(seen[0].1.contains(root), "{seen:?}");
}

/// A store whose scan is several times what queues and windows hold.
fn large() -> Market {
    Market::new(150_000)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_nothing_costs_a_few_parts_and_delays_nobody() {
    let market = large();
    let served = market.serve().await;
    let mut idle = served.plain().await;
    let query = proto::ScanRequest::from(&ScanQuery::all(btc(), Kind::Book));
    let whole = {
        let mut scan = served.client.scan(&ScanQuery::all(btc(), Kind::Book)).await.unwrap();
        while scan.next_record_batch().await.unwrap().is_some() {}
        served.client.stats().await.unwrap().bytes_sent
    };
    assert!(whole > 14 << 20, "{whole} bytes");

    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(idle.scan(query.clone()).await.unwrap().into_inner());
    }
    let mut replays = Vec::new();
    for _ in 0..3 {
        replays.push(served.client.replay(&ReplayQuery::all(&[btc()])).await.unwrap());
    }

    // It grows until the queues are full, and then no more.
    let mut before = 0;
    until("full queues", async || {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = served.client.stats().await.unwrap().bytes_sent;
        std::mem::replace(&mut before, now) == now
    })
    .await;
    let held = before - whole;
    // Six streams: a queue of parts each, one being made, one in the encoder, and the windows: for
    // plain clients 64 KiB, for ours 4 MiB.
    let parts = (limit::RPC_QUEUE_PARTS + 3) * (limit::RPC_PART_BYTES + (64 << 10));
    assert!(held < (6 * parts + (14 << 20)) as u64, "{held} bytes");
    assert!(held < 5 * whole, "{held} of {} bytes", 6 * whole);

    // Another client has its answers meanwhile.
    let other = Client::connect(&served.url).await.unwrap();
    let started = Instant::now();
    for _ in 0..50 {
        let query = BookQuery { instrument: btc(), at: market.last(), depth: Some(10) };
        other.book(&query).await.unwrap();
    }
    let mut scan = other.scan(&ScanQuery::all(btc(), Kind::Book)).await.unwrap();
    while scan.next_record_batch().await.unwrap().is_some() {}
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    until("only the unread open", async || other.stats().await.unwrap().streams_open == 6).await;

    drop((unread, replays));
    until("streams closed", async || other.stats().await.unwrap().streams_open == 0).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_left_in_the_middle_are_given_back() {
    let market = large();
    let served = market.serve().await;
    for _ in 0..30 {
        let mut scan = served.client.scan(&ScanQuery::all(btc(), Kind::Book)).await.unwrap();
        scan.next_record_batch().await.unwrap().unwrap();
        let mut session = served.client.replay(&ReplayQuery::all(&[btc()])).await.unwrap();
        while !matches!(session.next().await.unwrap(), Some(Event::Frame(_))) {}
    }
    until("streams closed", async || served.client.stats().await.unwrap().streams_open == 0).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_replays_than_the_limit_are_refused_and_room_comes_back() {
    let market = Market::new(10);
    let served = market.serve().await;
    let query = ReplayQuery { paused: true, ..ReplayQuery::all(&[btc()]) };
    let mut open = Vec::new();
    // A connection takes only so many requests at once.
    let other = Client::connect(&served.url).await.unwrap();
    let mut client = served.client.clone();
    for number in 0..limit::RPC_REPLAYS_MAX {
        if number % 30 == 0 {
            client = Client::connect(&served.url).await.unwrap();
        }
        open.push(client.replay(&query).await.unwrap());
    }

    let error = other.replay(&query).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Limit);
    assert_eq!(error.text(), "replays open on this server: 129 is above the limit 128");
    open.pop();
    until("room", async || other.replay(&query).await.is_ok()).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_open_streams_and_the_server() {
    let market = Market::new(100);
    let served = market.serve().await;
    let query = ReplayQuery { paused: true, ..ReplayQuery::all(&[btc()]) };
    let mut session = served.client.replay(&query).await.unwrap();
    let client = served.client.clone();
    assert!(matches!(session.next().await.unwrap(), Some(Event::OpeningBook(_))));

    let started = Instant::now();
    served.stop().await;

    let error = session.next().await.unwrap_err();
    assert_eq!((error.kind(), error.text()), (ErrorKind::Cancelled, "the server stops"));
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    assert!(client.stats().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_others_can_reach_is_refused() {
    let market = Market::new(10);
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();

    let never = std::future::pending();
    let served = serve(market.store.clone(), listener, ServeOptions::default(), never).await;

    let error = served.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.text().contains("loopback only"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_there_is_said_to_be_out_of_reach() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);

    let error = Client::connect(&url).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Remote);
    assert!(error.text().contains(&url), "{error}");
    assert_eq!(Client::connect("no url").await.unwrap_err().kind(), ErrorKind::Invalid);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_serving_and_reflection_lists_the_service() {
    use tonic_health::pb::health_client::HealthClient;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let market = Market::new(10);
    let served = market.serve().await;

    let mut health = HealthClient::new(served.channel().await);
    for service in ["", "tickreel.v1.Tickreel"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(
            answer.status(),
            tonic_health::pb::health_check_response::ServingStatus::Serving
        );
    }

    let mut reflection = ServerReflectionClient::new(served.channel().await);
    let request = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = tokio_stream::once(request);
    let mut answers = reflection.server_reflection_info(requests).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("expected a list, found {answer:?}")
    };
    assert!(list.service.iter().any(|service| service.name == "tickreel.v1.Tickreel"));
    drop((health, reflection, answers));
    served.stop().await;

    let hidden = ServeOptions { reflection: false, ..ServeOptions::default() };
    let served = Served::new(market.store.clone(), hidden).await;
    let mut reflection = ServerReflectionClient::new(served.channel().await);
    let requests = tokio_stream::empty();
    let status = reflection.server_reflection_info(requests).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}
