//! `tickreel ingest --status`: the figures of a running daemon as a table that stays fresh.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::screen::{self, write_error};
use crate::error::{Error, ErrorKind, Result};
use crate::ingest::daemon::stats::{FeedStatus, Status};

/// How often the table is made anew.
const REFRESH: Duration = Duration::from_secs(1);

/// Prints the status of the daemon at `address`: on a terminal again and again until Ctrl-C.
///
/// # Errors
/// [`ErrorKind::Invalid`] if the configuration has no address; [`ErrorKind::Remote`] if nobody
/// answers there.
pub fn show(address: Option<SocketAddr>, json: bool) -> Result<()> {
    let address = address.ok_or_else(|| {
        Error::invalid("the configuration has no http address, e.g. http = \"127.0.0.1:7480\"")
    })?;
    let url = format!("http://{address}/status");
    let text = fetch(&url)?;
    if json {
        return writeln!(screen::output(), "{text}").map_err(write_error);
    }
    let mut before = (Instant::now(), read(&text)?);
    if !std::io::stdout().is_terminal() {
        return print(&table(&before.1, None));
    }
    print(&format!("\x1b[2J{}", on_screen(&table(&before.1, None))))?;
    loop {
        std::thread::sleep(REFRESH);
        let now = (Instant::now(), read(&fetch(&url)?)?);
        let seconds = (now.0 - before.0).as_secs_f64();
        print(&on_screen(&table(&now.1, Some((&before.1, seconds)))))?;
        before = now;
    }
}

fn fetch(url: &str) -> Result<String> {
    let remote = |error: ureq::Error| Error::new(ErrorKind::Remote, format!("{url}: {error}"));
    ureq::get(url).call().and_then(|mut answer| answer.body_mut().read_to_string()).map_err(remote)
}

fn read(text: &str) -> Result<Status> {
    serde_json::from_str(text).map_err(|error| Error::invalid(format!("status: {error}")))
}

fn print(text: &str) -> Result<()> {
    let mut output = screen::output();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(write_error)
}

/// From the upper left corner, over what was there.
fn on_screen(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}

/// The figures; rates too if there are `earlier` ones, so many seconds ago.
fn table(status: &Status, earlier: Option<(&Status, f64)>) -> String {
    let mut text = format!(
        "{:<20} {:>9} {:>13} {:>9} {:>9} {:>13} {:>9} {:>9} {:>6} {:>7} {:>10} {:>8} {:>8}\n",
        "exchange",
        "up",
        "messages",
        "/s",
        "MiB",
        "rows",
        "/s",
        "books",
        "gaps",
        "resyncs",
        "reconnects",
        "rejects",
        "lag p99",
    );
    for feed in &status.feeds {
        let before = earlier.and_then(|(before, seconds)| {
            let before = before.feeds.iter().find(|old| old.exchange == feed.exchange)?;
            Some((before, seconds))
        });
        let rate = |of: fn(&FeedStatus) -> u64| match before {
            Some((before, seconds)) => {
                screen::count((of(feed).saturating_sub(of(before)) as f64 / seconds) as u64)
            }
            None => "-".to_owned(),
        };
        text.push_str(&format!(
            "{:<20} {:>9} {:>13} {:>9} {:>9} {:>13} {:>9} {:>9} {:>6} {:>7} {:>10} {:>8} {:>8}\n",
            feed.exchange,
            format!("{}/{}", feed.connections_up, feed.connections),
            screen::count(feed.messages),
            rate(|feed| feed.messages),
            screen::count(feed.bytes >> 20),
            screen::count(feed.rows),
            rate(|feed| feed.rows),
            format!("{}/{}", feed.books_live, feed.books),
            feed.gaps,
            feed.resyncs,
            feed.reconnects,
            feed.rejects,
            format!("{} ms", feed.event_lag_p99_ms),
        ));
    }
    text.push_str(&format!(
        "durable after {} ms (p50), {} ms (p99){}\n",
        status.durable_lag_p50_ms,
        status.durable_lag_p99_ms,
        if status.disk_full { "; THE DISK IS FULL, nothing is stored" } else { "" },
    ));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_what_was_added_per_second() {
        let feed = |messages| FeedStatus {
            exchange: "binance".to_owned(),
            messages,
            books: 3,
            books_live: 2,
            ..FeedStatus::default()
        };
        let status = |messages| Status { feeds: vec![feed(messages)], ..Status::default() };

        let text = table(&status(5000), Some((&status(1000), 2.0)));

        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row[..4], ["binance", "0/0", "5,000", "2,000"]);
        assert!(row.contains(&"2/3"));
        assert!(table(&status(1), None).lines().nth(1).unwrap().contains(" - "));
        let full = Status { disk_full: true, ..Status::default() };
        assert!(table(&full, None).contains("DISK IS FULL"));
    }
}
