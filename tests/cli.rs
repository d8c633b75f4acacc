//! The binary as a user meets it: exit codes, the same answers from a store and a server, and an
//! import that is stopped in the middle.

#![cfg(feature = "cli")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tickreel::event::{BatchBuilder, Kind, StreamKey, TradeRow, TradeSide};
use tickreel::rpc::{Appended, Client};
use tickreel::store::{LiveOptions, Store};
use tickreel::{Decimal, Instrument, TsNs};

const BIN: &str = env!("CARGO_BIN_EXE_tickreel");

fn tickreel(args: &[&str]) -> Output {
    Command::new(BIN).args(args).output().unwrap()
}

fn stdout(args: &[&str]) -> String {
    let output = tickreel(args);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Two days of a small market as Tardis CSV, with a trade file.
fn write_market(folder: &Path, messages: usize) -> [String; 2] {
    let (book, trades) = (folder.join("book.csv"), folder.join("trades.csv"));
    let mut out = fs::File::create(&book).unwrap();
    let head = "exchange,symbol,timestamp,local_timestamp";
    writeln!(out, "{head},is_snapshot,side,price,amount").unwrap();
    let start = 1_723_161_000_000_000u64;
    for level in 1..=20 {
        for (side, price) in [("bid", 1000 - level), ("ask", 1000 + level)] {
            writeln!(out, "deribit,X,{start},{start},true,{side},{price}.5,{level}").unwrap();
        }
    }
    for message in 1..=messages as u64 {
        let ts = start + message * 1_000_000 / 3;
        let (side, off) = if message % 2 == 0 { ("bid", -1) } else { ("ask", 1) };
        let price = 1000 + off * (1 + (message * 7 % 19) as i64);
        let qty = message % 5;
        writeln!(out, "deribit,X,{},{ts},false,{side},{price}.5,{qty}", ts - 900).unwrap();
    }
    let mut out = fs::File::create(&trades).unwrap();
    writeln!(out, "{head},id,side,price,amount").unwrap();
    for trade in 0..100u64 {
        let ts = start + trade * 7_000_000;
        writeln!(out, "deribit,X,{},{ts},t{trade},buy,1000.5,{}", ts - 5, trade + 1).unwrap();
    }
    [book, trades].map(|path| path.to_str().unwrap().to_owned())
}

struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(store: &str, more: &[&str]) -> Self {
        let mut child = Command::new(BIN)
            .args(["serve", "--store", store, "--listen", "127.0.0.1:0"])
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().find(|word| word.starts_with("http")).unwrap();
        let url = url.to_owned();
        Self { child, url }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_store_and_its_server_give_the_same_answers() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_market(folder.path(), 3000);
    let store = folder.path().join("m.reel");
    let store = store.to_str().unwrap();
    stdout(&["import", "--store", store, &files[0], &files[1]]);
    let server = Server::start(store, &[]);

    let (at, name) = ("2024-08-09T00:00:01Z", "deribit:X");
    let (from, to) = ("2024-08-08T23:55:00Z", "2024-08-09T00:01:00Z");
    let questions: &[&[&str]] = &[
        &["ls"],
        &["ls", "--json"],
        &["coverage", name],
        &["coverage", name, "--json"],
        &["book", name, "--at", at],
        &["book", name, "--at", at, "--json"],
        &["book", name, "--at", "0", "--json"],
        &["read", name, "--kind", "book", "--from", from, "--to", to, "--format", "csv"],
        &["read", name, "--kind", "trades", "--format", "ndjson"],
        &["read", name, "--kind", "book", "--format", "tardis-csv"],
        &["read", name, "--kind", "book", "--columns", "price,ts_recv"],
        &["replay", name, "--hash"],
        &["replay", name, "--from", from, "--to", to, "--json"],
    ];
    for question in questions {
        let ask = |place: &[&str]| stdout(&[&question[..1], place, &question[1..]].concat());
        let local = ask(&["--store", store]);
        let remote = ask(&["--server", &server.url]);
        assert!(!local.is_empty(), "{question:?}");
        assert_eq!(local, remote, "{question:?}");
    }
    let error = tickreel(&["book", "--server", &server.url, "deribit:NOPE", "--at", at]);
    assert_eq!(error.status.code(), Some(1));
    let text = String::from_utf8(error.stderr).unwrap();
    assert!(text.contains("deribit:NOPE") && !text.contains(store), "{text}");
}

/// Appends one print to a server, and waits until it is durable; what became of it.
async fn append_print(url: &str, ts: i64) -> Result<u64, String> {
    let mut rows = BatchBuilder::new(Kind::Trades);
    rows.trade(&TradeRow {
        ts_recv: TsNs(ts),
        ts_event: None,
        side: TradeSide::Buy,
        price: Decimal::parse("1.50").unwrap(),
        qty: Decimal::parse("2").unwrap(),
        trade_id: "t",
    });
    let instrument = Instrument::parse("deribit:X").unwrap();
    let key = StreamKey { instrument, kind: Kind::Trades };
    let (mut sender, mut answers) = Client::connect(url).await.unwrap().append().await.unwrap();
    let sent = sender.send(&key, &rows.finish().unwrap()[0]).await.unwrap();
    loop {
        match answers.next().await.unwrap().unwrap() {
            Appended::Accepted { .. } => {}
            Appended::Refused { error, .. } => return Err(error.to_string()),
            Appended::Durable { id, seq } => {
                assert_eq!(id, sent);
                return Ok(seq);
            }
        }
    }
}

#[test]
fn a_server_takes_rows_shows_them_to_all_and_seals_them_at_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("live.reel");
    let store = store.to_str().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let read = |place: &[&str]| {
        let question = ["deribit:X", "--kind", "trades", "--columns", "ts_recv,price"];
        stdout(&[&["read"], place, &question[..], &["--format", "csv"]].concat())
    };
    let rows = |times: &[&str]| {
        let line = |ts: &&str| format!("{ts},1.5\n");
        format!("ts_recv,price\n{}", times.iter().map(line).collect::<String>())
    };
    for (signal, more, late, after) in [
        ("-TERM", &[][..], Err("late row"), rows(&["5"])),
        ("-INT", &["--late", "clamp", "--memory-max", "1"][..], Ok(()), rows(&["5", "5"])),
    ] {
        let mut server = Server::start(store, &[&["--append"], more].concat());
        if late.is_err() {
            runtime.block_on(append_print(&server.url, 5)).unwrap();
        }
        match (late, runtime.block_on(append_print(&server.url, 4))) {
            (Ok(()), Ok(_)) => {}
            (Err(expected), Err(found)) => assert!(found.contains(expected), "{found}"),
            (_, other) => panic!("{other:?}"),
        }
        // Another process, and a client.
        assert_eq!(read(&["--store", store]), after);
        assert_eq!(read(&["--server", &server.url]), after);
        let second = tickreel(&["serve", "--append", "--store", store, "--listen", "127.0.0.1:0"]);
        assert_eq!(second.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&second.stderr).contains("locked by another writer"));

        let started = Instant::now();
        let pid = server.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        assert!(server.child.wait().unwrap().success(), "{signal}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert_eq!(read(&["--store", store]), after);
        let listed = stdout(&["ls", "--store", store, "--json"]);
        assert!(listed.contains("\"live_rows\":0"), "sealed: {listed}");
        stdout(&["verify", "--store", store]);
    }
    let reader = Server::start(store, &[]);
    let refused = runtime.block_on(async {
        Client::connect(&reader.url).await.unwrap().append().await.err().unwrap()
    });
    assert_eq!(refused.text(), "this server only reads");
    let usage = tickreel(&["serve", "--store", store, "--late", "clamp"]);
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn what_was_imported_is_written_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_market(folder.path(), 500);
    let store = folder.path().join("m.reel");
    let store = store.to_str().unwrap();
    stdout(&["import", "--store", store, &files[0], &files[1]]);
    for (kind, file) in [("book", &files[0]), ("trades", &files[1])] {
        let out = folder.path().join("out.csv");
        let path = out.to_str().unwrap();
        let format = ["--format", "tardis-csv", "-o", path];
        stdout(&[&["read", "--store", store, "deribit:X", "--kind", kind], &format[..]].concat());
        assert_eq!(fs::read_to_string(&out).unwrap(), fs::read_to_string(file).unwrap());
    }
    for format in ["arrow", "parquet"] {
        let out = folder.path().join(format);
        let path = out.to_str().unwrap();
        let rest = ["--kind", "book", "--format", format, "-o", path];
        stdout(&[&["read", "--store", store, "deribit:X"], &rest[..]].concat());
        let bytes = fs::read(&out).unwrap();
        let magic: &[u8] = if format == "arrow" { b"ARROW1" } else { b"PAR1" };
        assert!(bytes.starts_with(magic) && bytes.ends_with(magic));
    }
    stdout(&["verify", "--store", store]);
    let again = tickreel(&["import", "--store", store, &files[0]]);
    assert_eq!(again.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&again.stderr).contains("--replace"));
    stdout(&["import", "--store", store, "--replace", &files[0], &files[1]]);
}

#[test]
fn lines_that_cannot_be_read_are_kept_with_their_reason() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_market(folder.path(), 50);
    let mut text = fs::read_to_string(&files[0]).unwrap();
    text.push_str("deribit,X,1723161100000000,1723161100000000,false,bid,many,1\n");
    fs::write(&files[0], &text).unwrap();
    let (store, rejects) = (folder.path().join("m.reel"), folder.path().join("rejects.txt"));
    let (store, rejects) = (store.to_str().unwrap(), rejects.to_str().unwrap());

    let strict = tickreel(&["import", "--strict", "--store", store, &files[0]]);
    assert_eq!(strict.status.code(), Some(1));
    let error = String::from_utf8(strict.stderr).unwrap();
    let line = text.lines().count().to_string();
    assert!(error.contains("many") && error.contains(&format!("line {line}")), "{error}");
    assert_eq!(stdout(&["ls", "--store", store, "--json"]), "", "nothing was imported");

    let shown = stdout(&["import", "--store", store, "--rejects", rejects, &files[0]]);
    assert!(shown.contains("1 lines could not be read"), "{shown}");
    let kept = fs::read_to_string(rejects).unwrap();
    assert!(kept.contains("many") && kept.contains(&format!("line {line}")), "{kept}");
}

#[test]
fn an_import_that_is_stopped_leaves_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let small = write_market(folder.path(), 100);
    let store = folder.path().join("m.reel");
    let store = store.to_str().unwrap();
    stdout(&["import", "--store", store, &small[1]]);
    let before = stdout(&["ls", "--store", store, "--json"]);
    let book = write_market(folder.path(), 400_000)[0].clone();
    for signal in ["-INT", "-TERM", "-KILL"] {
        let mut child = Command::new(BIN)
            .args(["import", "--store", store, &book])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // In the middle: as soon as a segment is being written.
        let started = Instant::now();
        let busy = || {
            let streams = fs::read_dir(Path::new(store).join("segments")).unwrap();
            streams.count() > 1
        };
        while !busy() && started.elapsed() < Duration::from_secs(20) {
            std::thread::yield_now();
        }
        let pid = child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert!(!status.success(), "{signal}: stopped before its end");
        assert_eq!(stdout(&["ls", "--store", store, "--json"]), before, "{signal}");
        stdout(&["verify", "--store", store]);
        if signal != "-KILL" {
            drop(fs::remove_dir(Path::new(store).join("segments/1")));
        }
        for day in fs::read_dir(Path::new(store).join("segments")).unwrap() {
            let day = day.unwrap().path();
            if day.ends_with("1") {
                fs::remove_dir_all(day).unwrap();
            }
        }
    }
    stdout(&["import", "--store", store, &book]);
    stdout(&["verify", "--store", store]);
}

/// Changes one bit in the middle of what a file holds before zeros.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    let used = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[used / 2] ^= 4;
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// The command fails with 1 and says all of `words`.
fn refused(args: &[&str], words: &[&str]) {
    let output = tickreel(args);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
    assert!(words.iter().all(|word| said.contains(word)), "{args:?}: {said}");
}

fn json(args: &[&str]) -> Vec<serde_json::Value> {
    stdout(args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_damaged_segment_is_moved_aside_and_its_rows_show_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_market(folder.path(), 3000);
    let root = folder.path().join("m.reel");
    let store = root.to_str().unwrap();
    stdout(&["import", "--store", store, &files[0], &files[1]]);
    let streams = json(&["ls", "--store", store, "--json"]);
    let trades = streams.iter().position(|stream| stream["kind"] == "trades").unwrap();
    let book = 1 - trades;
    // Streams are numbered as they were imported, segments as they were written.
    let segment = |stream: &str, day: &str| {
        let day = root.join("segments").join(stream).join(day);
        fs::read_dir(day).unwrap().next().unwrap().unwrap().path()
    };
    let [lost, other] = ["0", "1"].map(|stream| segment(stream, "2024-08-08"));
    let bytes = fs::read(&lost).unwrap();
    refused(&["quarantine", "--store", store, lost.to_str().unwrap()], &["not damaged"]);
    assert_eq!(fs::read(&lost).unwrap(), bytes);
    for path in [&lost, &other] {
        damage(path);
        let path = path.to_str().unwrap();
        refused(&["verify", "--store", store], &[path]);

        let report = json(&["quarantine", "--store", store, "--json", path]);

        let moved = report[0]["files"][0].as_str().unwrap();
        assert!(moved.contains("quarantine") && Path::new(moved).exists(), "{report:?}");
        assert!(!Path::new(path).exists());
        stdout(&["verify", "--store", store]);
        refused(&["quarantine", "--store", store, path], &["no segment", path]);
    }

    let after = json(&["ls", "--store", store, "--json"]);
    let [before, left] = [&streams, &after].map(|streams| streams[trades]["rows"].as_u64());
    let lost_rows = after[trades]["lost_rows"].as_u64().unwrap();
    assert_eq!(left.unwrap() + lost_rows, before.unwrap());
    assert!(lost_rows > 0 && left > Some(0));
    assert_eq!(after[book]["lost_rows"], 0, "a gap says so in its place");
    let listed = stdout(&["ls", "--store", store]);
    assert!(listed.contains(&format!("deribit:X trades: {lost_rows} rows were lost")), "{listed}");
    let coverage = json(&["coverage", "--store", store, "deribit:X", "--json"]);
    for stream in [book, trades] {
        let gap = &coverage[stream]["gaps"][0];
        assert_eq!(gap["since_ns"], streams[stream]["first_ns"], "{coverage:?}");
        assert!(gap["until_ns"].as_i64() < streams[stream]["last_ns"].as_i64(), "{coverage:?}");
        assert!(gap["missing"].as_u64() > Some(0), "{coverage:?}");
    }
    let coverage = stdout(&["coverage", "--store", store, "deribit:X"]);
    assert_eq!(coverage.lines().filter(|line| line.contains("  gap  ")).count(), 2, "{coverage}");
}

/// Appends rows of a stream to a journal, one durable group per row.
fn write_journal(root: &Path, rows: u64) {
    let store = Store::open_or_create(root).unwrap();
    let options = LiveOptions { journal_bytes: 64 << 10, ..LiveOptions::default() };
    let mut writer = store.writer(options).unwrap();
    let key = StreamKey { instrument: "test:LIVE".parse().unwrap(), kind: Kind::Trades };
    for row in 0..rows {
        let mut builder = BatchBuilder::new(Kind::Trades);
        builder.trade(&TradeRow {
            ts_recv: TsNs(1_723_161_000_000_000_000 + row as i64),
            ts_event: None,
            side: TradeSide::Buy,
            price: "1000.5".parse().unwrap(),
            qty: "2".parse().unwrap(),
            trade_id: "t",
        });
        writer.append(&key, &builder.finish().unwrap()[0]).unwrap();
        writer.commit().unwrap();
    }
}

#[test]
fn a_journal_is_shown_in_words_and_moved_aside_when_it_is_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("m.reel");
    let store = root.to_str().unwrap();
    write_journal(&root, 40);
    let path = root.join("journal/1.jnl");
    let journal = path.to_str().unwrap();
    let whole = fs::read(&path).unwrap();

    // A name, 40 times rows, and 40 marks.
    let shown = stdout(&["inspect", journal]);
    let lines: Vec<_> = shown.lines().collect();
    assert!(lines[0].starts_with("journal 1 of store "), "{shown}");
    assert!(lines[1].contains(" 81 frames up to byte "), "{shown}");
    assert!(lines[1].ends_with("durable up to frame 80; 0 bytes after them are no frame"));
    assert!(lines[2].contains("frame 1: byte 64, names stream 0"), "{shown}");
    assert!(lines[3].contains("frame 2: ") && lines[3].contains("rows of stream 0"), "{shown}");
    assert!(shown.contains("and 71 more: see --all"), "{shown}");
    let all = stdout(&["inspect", journal, "--all"]);
    assert_eq!(all.lines().filter(|line| line.contains(" frame ")).count(), 1 + 81, "{all}");
    refused(&["quarantine", "--store", store, journal], &["not damaged"]);

    let cut = folder.path().join("cut.jnl");
    fs::write(&cut, &whole[..1000]).unwrap();
    let shown = stdout(&["inspect", cut.to_str().unwrap()]);
    assert!(shown.contains("cut short: 1,000 bytes are left of 65,536"), "{shown}");

    damage(&path);
    let shown = stdout(&["inspect", journal]);
    assert!(!shown.contains(" 81 frames") && !shown.contains(" 0 bytes after"), "{shown}");
    refused(&["verify", "--store", store], &["journal", journal]);
    let moved = stdout(&["quarantine", "--store", store, journal]);
    let quarantined = root.join("quarantine/journal-1.bad");
    assert!(moved.contains(&format!("moved to {}", quarantined.display())), "{moved}");
    assert!(moved.contains("perhaps missing: test:LIVE trades, rows after 2024-08-08T"), "{moved}");
    assert!(quarantined.exists() && !path.exists());
    stdout(&["verify", "--store", store]);
    let streams = json(&["ls", "--store", store, "--json"]);
    let rows = streams[0]["rows"].as_u64().unwrap();
    assert!((10..30).contains(&rows), "{rows} rows before the damage");
    assert_eq!(streams[0]["live_rows"], 0);
}

/// A store with the raw lane of a feed: a trade, and a frame that is no text.
fn write_raw_lane(folder: &Path) {
    let store = Store::open_or_create(folder).unwrap();
    let mut writer = store.writer(LiveOptions::default()).unwrap();
    let mut rows = BatchBuilder::new(Kind::Raw);
    let ts = 1_723_161_000_000_000_000;
    rows.raw(TsNs(ts), "connected 0", b"wss://stream.binance.com:9443/stream");
    let trade = concat!(
        r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161000000,"s":"BTCUSDT","#,
        r#""t":12345,"p":"61701.20","q":"0.100","T":1723161000000,"m":true,"M":true}}"#
    );
    rows.raw(TsNs(ts + 1), "message 0", trade.as_bytes());
    rows.raw(TsNs(ts + 2), "message 0", b"\xff,\"\n\x00");
    let instrument = Instrument::parse("binance:*").unwrap();
    let key = StreamKey { instrument, kind: Kind::Raw };
    writer.append(&key, &rows.finish().unwrap()[0]).unwrap();
    writer.seal_all().unwrap();
}

#[test]
fn a_raw_lane_is_shown_and_imported() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (old, new, rejects) = (path("old.reel"), path("new.reel"), path("rejects.txt"));
    write_raw_lane(Path::new(&old));
    let read = |format: &str| {
        let args = ["read", "--store", &old, "binance:*", "--kind", "raw", "--format", format];
        let output = tickreel(&args);
        assert!(output.status.success(), "{format}");
        output.stdout
    };
    let csv = read("csv");
    assert!(csv.starts_with(b"ts_recv,ts_event,channel,payload\n"));
    assert!(csv.ends_with(b",message 0,\"\xff,\"\"\n\x00\"\n"), "{}", csv.escape_ascii());
    let ndjson = String::from_utf8(read("ndjson")).unwrap();
    let lines: Vec<serde_json::Value> =
        ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["payload"], "wss://stream.binance.com:9443/stream");
    assert_eq!(lines[2]["payload_hex"], "ff2c220a00");
    let table = String::from_utf8(read("table")).unwrap();
    assert!(table.contains("{\"stream\":\"btcusdt@trade\""), "{table}");
    assert!(table.ends_with("  \u{fffd},\"\n"), "{table:?}");

    let args = ["import", "--json", "--store", &new, "--rejects", &rejects, &old];
    let report = &json(&args)[0];
    // The trade, a row that says that its connection was up, and one that something is missing.
    assert_eq!((&report["rows"], &report["rejects"]), (&3.into(), &1.into()), "{report}");
    let status = ["binance:BTCUSDT", "--kind", "status", "--columns", "ts_recv,what"];
    let status = stdout(&[&["read", "--store", &new][..], &status, &["--format", "csv"]].concat());
    assert!(status.ends_with("\n1723161000000000002,gap\n"), "{status}");
    let question = ["binance:BTCUSDT", "--kind", "trades", "--columns", "ts_recv,price,trade_id"];
    let trades =
        stdout(&[&["read", "--store", &new][..], &question, &["--format", "csv"]].concat());
    assert_eq!(trades, "ts_recv,price,trade_id\n1723161000000000001,61701.2,12345\n");
    let refused_frames = fs::read(&rejects).unwrap();
    assert!(refused_frames.starts_with(b"# binance:*, frame 3: "));
    assert!(refused_frames.ends_with(b"\n\xff,\"\n\x00\n"));

    refused(&["import", "--store", &path("x.reel"), &new], &["no raw lane", &new]);
    let folder_of_none = folder.path().to_str().unwrap();
    refused(&["import", "--store", &path("x.reel"), folder_of_none], &["no tickreel store"]);
}

#[test]
fn wrong_usage_exits_with_2_and_failures_with_1() {
    let cases: &[(&[&str], i32)] = &[
        (&["frobnicate"], 2),
        (&["book", "--store", "x", "deribit:X"], 2),
        (&["book", "--store", "x", "X", "--at", "0"], 2),
        (&["book", "--store", "x", "deribit:X", "--at", "noon"], 2),
        (&["ls"], 2),
        (&["ls", "--store", "/nonexistent/store"], 1),
        (&["ls", "--server", "http://127.0.0.1:1"], 1),
        (&["inspect", "/nonexistent/file"], 1),
        (&["import", "--store", "/tmp/x", "/nonexistent/file"], 1),
        (&["--version"], 0),
    ];
    for (args, code) in cases {
        let output = tickreel(args);
        assert_eq!(output.status.code(), Some(*code), "{args:?}");
        assert_eq!(output.stderr.is_empty(), *code == 0, "{args:?}");
    }
}

/// A certificate for this machine and its key, in files.
fn write_certificate(folder: &Path) -> [String; 2] {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let texts = [made.cert.pem(), made.signing_key.serialize_pem()];
    let files = ["server.crt", "server.key"].map(|name| folder.join(name));
    files.iter().zip(texts).for_each(|(file, text)| std::fs::write(file, text).unwrap());
    files.map(|file| file.to_str().unwrap().to_owned())
}

#[test]
fn a_server_for_other_machines_wants_a_token_and_reads_tokens_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_market(folder.path(), 100);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (store, tokens, token_file) = (path("m.reel"), path("tokens.toml"), path("token"));
    stdout(&["import", "--store", &store, &files[0], &files[1]]);
    let [certificate, key] = write_certificate(folder.path());
    let far = ["serve", "--store", &store, "--listen", "0.0.0.0:0"];
    refused(&far, &["--tls-cert", "--tokens", "loopback only"]);
    refused(&[&far[..], &["--tls-cert", &certificate, "--tls-key", &key]].concat(), &["--tokens"]);

    let made = stdout(&["token", "research"]);
    let (token, entry) = made.split_once('\n').unwrap();
    std::fs::write(&tokens, format!("{entry}kinds = [\"trades\"]\n")).unwrap();
    std::fs::write(&token_file, format!("{token}\n")).unwrap();
    let doors = ["--tls-cert", &certificate, "--tls-key", &key, "--tokens", &tokens];
    let server = Server::start(&store, &doors);
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let ask = ["ls", "--json", "--server", &server.url, "--ca", &certificate];
    refused(&ask, &["expected a valid token"]);
    let with_token = [&ask[..], &["--token-file", &token_file]].concat();
    let shown = json(&with_token);
    assert!(!shown.is_empty() && shown.iter().all(|stream| stream["kind"] == "trades"));

    std::fs::write(&tokens, "").unwrap();
    let hangup = Command::new("kill").args(["-HUP", &server.child.id().to_string()]).status();
    assert!(hangup.unwrap().success());
    let begun = Instant::now();
    while tickreel(&with_token).status.success() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the token is still taken");
    }
    refused(&with_token, &["expected a valid token"]);
}

/// A replay of a server that goes on until it is told to stop.
struct Playing {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Playing {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(BIN);
        let command = command.arg("replay").args(args).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// As with Ctrl-C.
    fn interrupt(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        // It may be waiting for room in the pipe.
        while self.lines.next().is_some_and(|line| line.is_ok()) {}
        assert_eq!(self.child.wait().unwrap().code(), Some(130));
    }
}

#[test]
fn a_replay_of_a_server_stops_goes_round_is_shared_and_shows_books() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_market(folder.path(), 300);
    let store = folder.path().join("m.reel");
    let store = store.to_str().unwrap();
    stdout(&["import", "--store", store, &files[0], &files[1]]);
    let server = Server::start(store, &[]);
    let from = ["replay", "--server", &server.url];
    let replay = |more: &[&str]| stdout(&[&from[..], &["deribit:X"], more].concat());

    // By event time, a store and a server play the same; it is another order than by receive time.
    let here = stdout(&["replay", "--store", store, "deribit:X", "--order", "event", "--hash"]);
    assert_eq!(here, replay(&["--order", "event", "--hash"]));
    assert_ne!(here, replay(&["--hash"]));

    // 100 s of recorded time, of which a millisecond is waited between two messages.
    assert_eq!(replay(&["--speed", "1", "--idle-max", "1ms"]), replay(&[]));
    refused(&[&from[..], &["deribit:X", "--paused"]].concat(), &["--paused", "--session"]);

    let stopped = tickreel(&[&from[..], &["deribit:X", "--stop-rows", "60"]].concat());
    assert_eq!(stopped.status.code(), Some(0));
    assert_eq!(String::from_utf8(stopped.stdout).unwrap().lines().count(), 60);
    let told = String::from_utf8(stopped.stderr).unwrap();
    assert!(told.contains("stopped: rows of deribit:X"), "{told}");
    let trade = replay(&["--stop-trade", "3.5"]);
    assert!(trade.lines().last().unwrap().contains("t3"), "{trade}");
    assert!(replay(&["--stop-spread", "1", "--kinds", "book"]).lines().count() < 60);

    let books = replay(&["--books", "2", "--every", "1s", "--json"]);
    for line in books.lines() {
        let book: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(book["instrument"], "deribit:X");
        assert_eq!(book["ts_recv"].as_str().unwrap().len(), "2024-08-08T23:57:00.000000000Z".len());
    }
    assert_eq!(books.lines().count(), 101, "a book for each of 100 seconds, both ends");
    let metrics = replay(&["--metrics", "--kinds", "book"]);
    assert_eq!(metrics.lines().count(), 301);
    assert!(metrics.lines().next().unwrap().contains("mid=1000.50"), "{metrics}");

    let whole: Vec<_> = replay(&["--kinds", "trades"]).lines().map(str::to_owned).collect();
    let mut round =
        Playing::start(&["--server", &server.url, "deribit:X", "--kinds", "trades", "--loop"]);
    for line in whole.iter().chain(&whole).chain(&whole) {
        assert_eq!(&round.next(), line);
    }
    round.interrupt();

    let shared = ["--server", &server.url, "deribit:X", "--session", "a", "--speed", "5"];
    let mut first = Playing::start(&shared);
    first.next();
    let mut second = Playing::start(&["--server", &server.url, "--join", "a"]);
    // Somewhere in the middle, and the same rows from there on.
    let joined = second.next();
    let all = replay(&[]);
    assert!(all.lines().any(|line| line == joined), "{joined}");
    first.interrupt();
    second.next();
    second.interrupt();

    for (wrong, reason) in [
        (&["--store", store, "deribit:X", "--stop-at-gap"][..], "--server"),
        (&["--server", &server.url, "--join", "a", "deribit:X"], "--join"),
        (&["--server", &server.url, "deribit:X", "--loop", "--hash"], "--hash"),
        (&["--server", &server.url], "INSTRUMENT"),
    ] {
        let usage = tickreel(&[&["replay"], wrong].concat());
        assert_eq!(usage.status.code(), Some(2), "{wrong:?}");
        assert!(String::from_utf8_lossy(&usage.stderr).contains(reason), "{wrong:?}");
    }
}

#[test]
fn a_replay_that_follows_prints_what_is_appended() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("m.reel");
    let store = store.to_str().unwrap();
    let server = Server::start(store, &["--append"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(append_print(&server.url, 1)).unwrap();
    let listed = stdout(&["ls", "--store", store, "--json"]);
    let listed: serde_json::Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    let name =
        format!("{}:{}", listed["exchange"].as_str().unwrap(), listed["symbol"].as_str().unwrap());

    let mut follows = Playing::start(&["--server", &server.url, &name, "--follow", "--json"]);

    let first: serde_json::Value = serde_json::from_str(&follows.next()).unwrap();
    runtime.block_on(append_print(&server.url, 2)).unwrap();
    let second: serde_json::Value = serde_json::from_str(&follows.next()).unwrap();
    assert_eq!(first["kind"], second["kind"]);
    assert_ne!(first["ts_recv"], second["ts_recv"]);
    follows.interrupt();
}

#[test]
fn a_compacted_store_is_smaller_and_answers_as_before() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_market(folder.path(), 5000);
    let store = folder.path().join("m.reel");
    let store = store.to_str().unwrap();
    stdout(&["import", "--store", store, &files[0], &files[1]]);
    let (at, name) = ("2024-08-09T00:00:01Z", "deribit:X");
    let questions: &[&[&str]] = &[
        &["coverage", name, "--json"],
        &["book", name, "--at", at],
        &["book", name, "--at", at, "--json"],
        &["read", name, "--kind", "book", "--format", "tardis-csv"],
        &["read", name, "--kind", "trades"],
        &["read", name, "--kind", "book", "--columns", "price", "--format", "csv"],
        &["replay", name, "--hash"],
    ];
    let ask = |question: &&[&str]| stdout(&[question, &["--store", store][..]].concat());
    let before: Vec<_> = questions.iter().map(ask).collect();

    let planned = stdout(&["compact", "--store", store, "--dry-run"]);
    assert!(planned.contains("nothing was changed") && planned.contains("book"), "{planned}");
    let planned = &json(&["compact", "--store", store, "--dry-run", "--json"])[0];
    assert_eq!(planned["days"].as_array().unwrap().len(), 4, "{planned}");
    let selected = ["compact", "--store", store, "--kind", "trades", "--older-than", "36500d"];
    assert!(stdout(&selected).contains("nothing to do"));
    let selected =
        ["compact", "--store", store, "--instrument", name, "--kind", "trades", "--json"];
    assert_eq!(json(&selected)[0]["days"].as_array().unwrap().len(), 2);
    let done = &json(&["compact", "--store", store, "--jobs", "2", "--json"])[0];

    assert_eq!((&done["failed"], &done["dropped"]["rows"]), (&0.into(), &0.into()));
    let bytes = |field: &str| done[field].as_u64().unwrap();
    assert!(bytes("bytes_after") < bytes("bytes_before"), "{done}");
    assert_eq!(questions.iter().map(ask).collect::<Vec<_>>(), before);
    assert!(stdout(&["compact", "--store", store]).contains("nothing to do"));
    let again = stdout(&["compact", "--store", store, "--again", "--checkpoint-rows", "500"]);
    assert!(again.contains("4 days of streams"), "{again}");
    assert_eq!(questions.iter().map(ask).collect::<Vec<_>>(), before);
    stdout(&["verify", "--store", store]);

    let keep = ["compact", "--store", store, "--keep", "trades=1d"];
    let other = [&keep[..], &["--instrument", "deribit:Y", "--json"]].concat();
    assert_eq!(json(&other)[0]["dropped"]["rows"], 0);
    let planned = stdout(&[&keep[..], &["--dry-run"]].concat());
    assert!(planned.starts_with("would drop 100 rows in "), "{planned}");
    let (planned, kept) = (
        &json(&[&keep[..], &["--dry-run", "--json"]].concat())[0],
        &json(&[&keep[..], &["--json"]].concat())[0],
    );
    assert_eq!(kept["dropped"]["rows"], 100, "{kept}");
    assert_eq!(planned["dropped"], kept["dropped"]);
    let writer = Store::open(store).unwrap().writer(LiveOptions::default()).unwrap();
    refused(&["compact", "--store", store], &["locked"]);
    assert!(stdout(&["compact", "--store", store, "--dry-run"]).contains("nothing to do"));
    drop(writer);
    for wrong in [["--older-than", "3w"], ["--keep", "raw"], ["--jobs", "0"], ["--kind", "x"]] {
        let args = [&["compact", "--store", store][..], &wrong].concat();
        assert_eq!(tickreel(&args).status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn bench_measures_a_store_as_it_is_and_markets_that_it_makes() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_market(folder.path(), 3000);
    let store = folder.path().join("s.reel");
    let store = store.to_str().unwrap();
    stdout(&["import", "--store", store, &files[0], &files[1]]);

    let asked = ["bench", "--store", store, "--only", "scan,day,merged,append", "--json"];
    let measured = json(&asked).remove(0);
    let grown = json(&["bench", "--growth", "1", "--json"]);

    // 40 levels and a reset at the beginning, then a level per message; and 100 trades.
    let of_book = 3041;
    let figures = measured["figures"].as_array().unwrap();
    for (figure, rows) in figures.iter().zip([of_book, of_book, of_book + 100]) {
        let passes = figure["rows"].as_u64().unwrap() as f64 / f64::from(rows);
        assert!(passes >= 1.0 && passes.fract() == 0.0, "{figure}");
    }
    let [.., sealed, compacted] = &figures[..] else { panic!("{measured}") };
    assert_eq!(sealed["hash"], compacted["hash"]);
    assert!(compacted["bytes"].as_u64() < sealed["bytes"].as_u64());
    assert_eq!(grown.len(), 1);
    let rows = grown[0]["streams"][0]["rows"].as_u64().unwrap();
    assert!((800_000..1_300_000).contains(&rows), "{rows} rows of about a million");
}
