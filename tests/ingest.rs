//! The program that records: its configuration, signals, figures, and what is left when it is
//! killed.

#![cfg(feature = "cli")]
#![allow(clippy::print_stderr, reason = "what the program said, when it fails")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use tickreel::book::State;
use tickreel::event::{BatchBuilder, StreamKey};
use tickreel::rpc::{Client, SampleQuery};
use tickreel::store::{LiveOptions, Store};
use tickreel::{Instrument, Kind, TsNs};
use tokio_tungstenite::tungstenite::{self, Message};

const BIN: &str = env!("CARGO_BIN_EXE_tickreel");

/// Everything comes to pass within this time.
const PATIENCE: Duration = Duration::from_secs(30);

/// A spot market of Binance with two symbols: each level's quantity is the number of its message.
struct Venue {
    at: SocketAddr,
    updates: Arc<AtomicI64>,
}

impl Venue {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let updates = Arc::new(AtomicI64::new(1));
        let shared = updates.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let updates = shared.clone();
                // A client that goes away ends its thread.
                std::thread::spawn(move || drop(answer(stream, &updates)));
            }
        });
        Self { at, updates }
    }

    fn config(&self, folder: &Path, symbols: &str, http: Option<SocketAddr>) -> PathBuf {
        let at = self.at;
        let http = http.map_or(String::new(), |http| format!("http = \"{http}\"\n"));
        let text = format!(
            "{http}[[feed]]\nexchange = \"binance\"\nsymbols = {symbols}\nkinds = [\"book\"]\n\
             raw = true\nstream_url = \"ws://{at}\"\nrest_url = \"http://{at}\"\n"
        );
        let path = folder.join("feeds.toml");
        std::fs::write(&path, text).unwrap();
        path
    }
}

fn answer(mut stream: TcpStream, updates: &AtomicI64) -> Result<(), Box<dyn std::error::Error>> {
    let mut head = [0; 4096];
    let read = stream.peek(&mut head)?;
    let head = String::from_utf8_lossy(&head[..read]).into_owned();
    if head.to_ascii_lowercase().contains("upgrade: websocket") {
        return push(stream, updates);
    }
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    while lines.read_line(&mut line)? > 2 {
        line.clear();
    }
    let body = if head.contains("exchangeInfo") {
        let listed = ["AUSDT", "BUSDT"]
            .map(|symbol| format!(r#"{{"symbol":"{symbol}","status":"TRADING"}}"#));
        format!(r#"{{"symbols":[{}]}}"#, listed.join(","))
    } else {
        let last = updates.load(Ordering::SeqCst);
        format!(r#"{{"lastUpdateId":{last},"bids":[["1.0","{last}"]],"asks":[["2.0","7"]]}}"#)
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )?;
    Ok(())
}

fn push(stream: TcpStream, updates: &AtomicI64) -> Result<(), Box<dyn std::error::Error>> {
    let mut socket = tungstenite::accept(stream)?;
    socket.get_ref().set_read_timeout(Some(Duration::from_millis(5)))?;
    let mut topics = BTreeMap::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => {
                let request: serde_json::Value = serde_json::from_str(&text)?;
                for topic in request["params"].as_array().ok_or("params")? {
                    let name = topic.as_str().ok_or("topic")?.to_owned();
                    match request["method"] == "SUBSCRIBE" {
                        true => drop(topics.insert(name, ())),
                        false => drop(topics.remove(&name)),
                    }
                }
                let id = &request["id"];
                socket.send(Message::text(format!(r#"{{"result":null,"id":{id}}}"#)))?;
            }
            Ok(Message::Close(_)) => return Ok(()),
            Ok(_) => {}
            Err(tungstenite::Error::Io(error))
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(error) => return Err(error.into()),
        }
        let update = updates.fetch_add(1, Ordering::SeqCst) + 1;
        let ms = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
        for topic in topics.keys() {
            let symbol = topic.split('@').next().unwrap_or_default().to_uppercase();
            let head = format!(r#""e":"depthUpdate","E":{ms},"s":"{symbol}""#);
            let data =
                format!(r#"{head},"U":{update},"u":{update},"b":[["1.0","{update}"]],"a":[]"#);
            let message = format!(r#"{{"stream":"{topic}","data":{{{data}}}}}"#);
            socket.send(Message::text(message))?;
        }
    }
}

/// The program at work, and what it says.
struct Daemon {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Daemon {
    fn start(store: &Path, config: &Path) -> Self {
        Self::start_with(store, config, &[])
    }

    fn start_with(store: &Path, config: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(BIN)
            .args(["ingest", "--log", "json", "--store"])
            .arg(store)
            .arg("--config")
            .arg(config)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (errors, saying) = (child.stderr.take().unwrap(), said.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut said = saying.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        Self { child, said }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Waits until `holds`.
    fn until(&mut self, what: &str, mut holds: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !holds() {
            let said = || self.said.lock().unwrap().clone();
            assert!(self.child.try_wait().unwrap().is_none(), "{what}: ended\n{}", said());
            assert!(begun.elapsed() < PATIENCE, "not {what}\n{}", said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end: how it ended and how long that took.
    fn ends(mut self) -> (std::process::ExitStatus, Duration, String) {
        let begun = Instant::now();
        let status = self.child.wait().unwrap();
        std::thread::sleep(Duration::from_millis(50));
        (status, begun.elapsed(), self.said.lock().unwrap().clone())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn run(args: &[&str]) -> Output {
    Command::new(BIN).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn instrument(symbol: &str) -> Instrument {
    Instrument::new("binance", symbol).unwrap()
}

/// State, receive time and newest update of a book now; `None` before its first row.
fn book(store: &Path, symbol: &str) -> Option<(State, TsNs, i64)> {
    let snapshot = Store::open(store).ok()?.snapshot().ok()?;
    let book = snapshot.book_at(&instrument(symbol), TsNs::MAX).ok()?;
    Some((book.state(), book.ts_recv()?, book.venue_seq().unwrap_or(0)))
}

fn is_stale(state: State) -> bool {
    matches!(state, State::Stale { .. })
}

fn is_live(store: &Path, symbol: &str) -> bool {
    book(store, symbol).is_some_and(|(state, ..)| state == State::Live)
}

fn verify(store: &Path) {
    let verified = run(&["verify", "--store", store.to_str().unwrap()]);
    assert!(verified.status.success(), "{}", text(&verified.stderr));
}

fn get(at: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn a_configuration_is_checked_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("feeds.toml");
    let check = |text: &str| {
        std::fs::write(&path, text).unwrap();
        run(&["ingest", "--check", "--config", path.to_str().unwrap()])
    };

    let good = check("[[feed]]\nexchange = \"binance\"\nsymbols = [\"*\"]\n");
    let bad = check("[[feed]]\nexchange = \"binance\"\nsymbols = \"*\"\n");
    let absent = run(&["ingest", "--check", "--config", "/nowhere/feeds.toml"]);
    let no_store = run(&["ingest", "--config", path.to_str().unwrap()]);

    assert!(good.status.success() && text(&good.stderr).contains("binance"), "{good:?}");
    assert_eq!(bad.status.code(), Some(1));
    assert!(text(&bad.stderr).contains("line 3, column 11"), "{}", text(&bad.stderr));
    assert!(text(&absent.stderr).contains("/nowhere/feeds.toml"), "{}", text(&absent.stderr));
    assert_eq!(no_store.status.code(), Some(2));
}

#[test]
fn it_records_reloads_shows_its_figures_and_stops() {
    let folder = tempfile::tempdir().unwrap();
    let (venue, http, store) = (Venue::start(), free_port(), folder.path().join("market.reel"));
    let config = venue.config(folder.path(), "[\"AUSDT\"]", Some(http));
    let mut daemon = Daemon::start(&store, &config);
    daemon.until("live", || is_live(&store, "AUSDT"));
    assert!(book(&store, "BUSDT").is_none());

    // Both symbols: the first is not disturbed.
    venue.config(folder.path(), "[\"?USDT\"]", Some(http));
    daemon.signal("-HUP");
    daemon.until("live", || is_live(&store, "BUSDT"));
    std::fs::write(&config, "nonsense").unwrap();
    daemon.signal("-HUP");
    let said = daemon.said.clone();
    daemon.until("refused", || said.lock().unwrap().contains("configuration refused"));
    venue.config(folder.path(), "[\"B*\"]", Some(http));
    daemon.signal("-HUP");
    daemon.until("left out", || book(&store, "AUSDT").is_some_and(|(state, ..)| is_stale(state)));
    assert!(is_live(&store, "BUSDT"));

    let metrics = get(http, "/metrics");
    let path = config.to_str().unwrap();
    let table = run(&["ingest", "--status", "--config", path]);
    let json = run(&["ingest", "--status", "--json", "--config", path]);
    let second = run(&["ingest", "--store", store.to_str().unwrap(), "--config", path]);

    assert!(metrics.contains("tickreel_messages_total{exchange=\"binance\"}"), "{metrics}");
    assert!(get(http, "/health").contains("200 OK"));
    assert!(text(&table.stdout).contains("binance  "), "{table:?}");
    let status: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(status["feeds"][0]["reconnects"], 0);
    assert_eq!(status["feeds"][0]["books_live"], 1);
    let symbols = status["feeds"][0]["symbols"].as_array().unwrap();
    let b = symbols.iter().find(|symbol| symbol["symbol"] == "BUSDT").unwrap();
    assert!(b["messages"].as_u64() > Some(0) && b["bytes"].as_u64() > Some(0), "{b}");
    assert!(b["rows"]["book"].as_u64() > Some(0), "{b}");
    assert!(b["event_lag_p99_ms"].as_u64() > Some(0), "{b}");
    assert!(b["durable_lag_p99_ms"].as_u64() > Some(0), "{b}");
    let line = "tickreel_symbol_messages_total{exchange=\"binance\",symbol=\"BUSDT\"} ";
    assert!(metrics.contains(line), "{metrics}");
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("another"), "{}", text(&second.stderr));

    daemon.signal("-TERM");
    let (status, seconds, said) = daemon.ends();
    assert!(status.success() && seconds < Duration::from_secs(5), "{status} {seconds:?}\n{said}");
    let lines = said.lines().map(serde_json::from_str::<serde_json::Value>);
    assert!(lines.collect::<Result<Vec<_>, _>>().is_ok(), "{said}");
    // The end of the recording is the end of what is known.
    assert!(is_stale(book(&store, "BUSDT").unwrap().0));
    verify(&store);
    // Nobody answers any more.
    let gone = run(&["ingest", "--status", "--config", path]);
    assert_eq!(gone.status.code(), Some(1));
}

#[test]
fn a_recording_that_was_killed_goes_on_after_a_gap() {
    let folder = tempfile::tempdir().unwrap();
    let (venue, store) = (Venue::start(), folder.path().join("market.reel"));
    let config = venue.config(folder.path(), "[\"*\"]", None);
    let mut daemon = Daemon::start(&store, &config);
    daemon.until("live", || is_live(&store, "AUSDT") && is_live(&store, "BUSDT"));
    daemon.signal("-KILL");
    daemon.ends();
    let killed = book(&store, "AUSDT").unwrap();
    assert_eq!(killed.0, State::Live, "nobody wrote that it ended");
    // The next one may find rows that were on their way into the journal.
    let between = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let between = TsNs(between.as_nanos().try_into().unwrap());
    let seen = venue.updates.load(Ordering::SeqCst);

    let mut daemon = Daemon::start(&store, &config);
    daemon.until("live again", || {
        book(&store, "AUSDT").is_some_and(|(state, _, seq)| state == State::Live && seq > seen)
    });
    daemon.signal("-INT");
    let (status, _, said) = daemon.ends();

    assert!(status.success(), "{said}");
    verify(&store);
    let snapshot = Store::open(&store).unwrap().snapshot().unwrap();
    // From its last row on the book of the killed process is known to be unknown.
    let book = snapshot.book_at(&instrument("AUSDT"), between).unwrap();
    assert!(is_stale(book.state()), "{:?}", book.state());
    let raw = Instrument::new("binance", "*").unwrap();
    assert!(snapshot.stream_id(&raw, Kind::Raw).is_ok());
}

#[test]
fn a_recording_is_had_again_from_its_raw_lane_and_old_days_are_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let (venue, store) = (Venue::start(), folder.path().join("market.reel"));
    // A day of long ago.
    let old = StreamKey { instrument: instrument("OLDUSDT"), kind: Kind::Raw };
    let mut rows = BatchBuilder::new(Kind::Raw);
    rows.raw(TsNs::parse("2020-01-05T12:00:00Z").unwrap(), "message 1", b"x");
    let mut writer = Store::open_or_create(&store).unwrap().writer(LiveOptions::default()).unwrap();
    writer.append(&old, &rows.finish().unwrap()[0]).unwrap();
    writer.seal_all().unwrap();
    drop(writer);
    let parts = |key: &StreamKey| {
        let snapshot = Store::open(&store).unwrap().snapshot().unwrap();
        let id = snapshot.stream_id(&key.instrument, key.kind);
        id.map_or(0, |id| snapshot.parts(id).len())
    };
    assert_eq!(parts(&old), 1);
    let config = venue.config(folder.path(), "[\"*\"]", None);
    let plain = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("[retention]\nraw = \"2d\"\n{plain}")).unwrap();

    let mut daemon = Daemon::start(&store, &config);
    daemon.until("live", || is_live(&store, "AUSDT") && is_live(&store, "BUSDT"));
    daemon.until("dropped", || parts(&old) == 0);
    daemon.signal("-TERM");
    let (status, _, said) = daemon.ends();
    let again = folder.path().join("again.reel");
    let paths = [&again, &store].map(|path| path.to_str().unwrap());
    let imported = run(&["import", "--store", paths[0], paths[1]]);

    assert!(status.success(), "{said}");
    assert!(imported.status.success(), "{}", text(&imported.stderr));
    verify(&again);
    let lane = StreamKey { instrument: Instrument::new("binance", "*").unwrap(), kind: Kind::Raw };
    assert!(parts(&lane) > 0, "what is new enough stays");
    for symbol in ["AUSDT", "BUSDT"] {
        let [recorded, imported] = [&store, &again].map(|store| book(store, symbol).unwrap());
        assert_eq!((recorded.1, recorded.2), (imported.1, imported.2), "{symbol}");
        assert!(is_stale(recorded.0) && is_stale(imported.0), "{recorded:?} {imported:?}");
    }
}

#[test]
fn a_reader_that_hangs_does_not_disturb_the_recording() {
    let folder = tempfile::tempdir().unwrap();
    let (venue, http, store) = (Venue::start(), free_port(), folder.path().join("market.reel"));
    let config = venue.config(folder.path(), "[\"*\"]", Some(http));
    let door = free_port().to_string();
    let mut daemon = Daemon::start_with(&store, &config, &["--serve", &door]);
    daemon.until("live", || is_live(&store, "AUSDT") && is_live(&store, "BUSDT"));
    let (_, since, _) = book(&store, "AUSDT").unwrap();

    // Millions of books are asked for, on several connections, and none is read.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut hanging = Vec::new();
    for _ in 0..4 {
        let range = since..TsNs(since.0 + 5_000_000_000);
        let query =
            SampleQuery { instrument: instrument("AUSDT"), range, every_ns: 1000, depth: None };
        hanging.push(runtime.block_on(async {
            let client = Client::connect(&format!("http://{door}")).await.unwrap();
            let mut books = client.sample(&query).await.unwrap();
            books.next().await.unwrap();
            (client, books)
        }));
    }
    let seen = venue.updates.load(Ordering::SeqCst);
    daemon.until("recording on", || {
        book(&store, "BUSDT")
            .is_some_and(|(state, _, seq)| state == State::Live && seq > seen + 200)
    });

    let status: serde_json::Value =
        serde_json::from_str(get(http, "/status").split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(status["feeds"][0]["reconnects"], 0, "{status}");
    assert_eq!(status["feeds"][0]["gaps"], 0, "{status}");
    daemon.signal("-TERM");
    let (status, seconds, said) = daemon.ends();
    assert!(status.success() && seconds < Duration::from_secs(10), "{status} {seconds:?}\n{said}");
    drop(hanging);
    verify(&store);
}
