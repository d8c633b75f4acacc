//! What the venues say is read by tickreel's own dialects without a gap: books played from the
//! start, and the snapshot after a second subscription.

use tickreel::event::{Action, book};
use tickreel::ingest::{Frame, Rows, venues};
use tickreel::{Kind, TsNs};
use tickreel_venue::{Event, Pace, Script, Start, Venue};

use crate::client::{Client, captured, get, venue};
use crate::venues::{CASES, Case};

/// A dialect and what it made of what it was told.
struct Recorder {
    dialect: Box<dyn tickreel::ingest::Dialect>,
    rows: Rows,
    at: i64,
    exchange: &'static str,
}

impl Recorder {
    fn tell(&mut self, frame: &Frame<'_>) {
        self.at += 1_000_000;
        let told = self.dialect.frame(TsNs(self.at), 1, frame, &mut self.rows);
        let shown = match frame {
            Frame::Message(text) => String::from_utf8_lossy(&text[..text.len().min(300)]).into(),
            other => format!("{other:?}"),
        };
        assert!(told.is_ok(), "{}: {:?} {shown}", self.exchange, told.err());
    }

    async fn hear(&mut self, client: &mut Client, count: usize) {
        for text in client.texts(count).await {
            self.tell(&Frame::Message(text.as_bytes()));
        }
    }

    async fn say(&mut self, client: &mut Client, text: &str) {
        self.tell(&Frame::Sent(text.as_bytes()));
        client.say(text).await;
    }

    async fn ask(&mut self, venue: &Venue, path: &str) {
        if !path.is_empty() {
            let (_, _, body) = get(venue, path).await;
            // The reply with all levels has another path, and the same form.
            let path =
                path.replace("/v1/market/orderbook/level2_100", "/v3/market/orderbook/level2");
            let url = format!("{}{path}", venue.rest_url());
            self.tell(&Frame::Reply { url: &url, body: body.as_bytes() });
        }
    }

    /// Gaps and snapshots (resets) of all books.
    fn ends(mut self) -> (usize, usize) {
        self.dialect.finish(&mut self.rows).unwrap();
        let (mut gaps, mut resets) = (0, 0);
        for (key, batch) in self.rows.take().unwrap() {
            if key.kind == Kind::Book {
                let actions = batch.u8s(book::ACTION);
                gaps += actions.iter().filter(|one| **one == Action::Gap as u8).count();
                resets += actions.iter().filter(|one| **one == Action::Reset as u8).count();
            }
        }
        (gaps, resets)
    }
}

async fn is_read(case: &Case, script: Script) {
    let count = script.texts_of(case.topic).count();
    let events = &script.topics[script.topic(case.topic).unwrap()].events;
    let is_whole = |event: &&Event| matches!(event, Event::Message { is_whole: true, .. });
    let whole = events.iter().filter(is_whole).count();
    let venue = venue(case.exchange, script, Pace::FlatOut, Start::When(1)).await;
    let mut client = Client::connect(&venue, case.path).await;
    let dialect = venues::dialect(case.exchange, None).unwrap();
    let (rows, at, exchange) = (Rows::new(), 1_767_657_600_000_000_000, case.exchange);
    let mut recorder = Recorder { dialect, rows, at, exchange };
    let url = format!("{}{}", venue.stream_url(), case.path);
    recorder.tell(&Frame::Connected { url: &url });
    recorder.hear(&mut client, case.greetings).await;
    if exchange == "bitfinex" {
        recorder.say(&mut client, r#"{"event":"conf","flags":98304}"#).await;
        recorder.hear(&mut client, 1).await;
    }

    recorder.say(&mut client, case.subscribe).await;
    recorder.hear(&mut client, 2).await;
    recorder.ask(&venue, case.snapshot).await;
    recorder.hear(&mut client, count - 1).await;
    venue.finished().await;
    recorder.say(&mut client, case.unsubscribe).await;
    recorder.hear(&mut client, 1).await;
    recorder.say(&mut client, case.subscribe).await;
    recorder.hear(&mut client, 1).await;
    if case.snapshot.is_empty() {
        recorder.hear(&mut client, 1).await;
    }

    let (gaps, resets) = recorder.ends();
    let snapshots = match exchange {
        // Whole books each time; the dialect stores what differs.
        "hyperliquid" => 1,
        _ if case.snapshot.is_empty() => whole + 1,
        _ => 1,
    };
    assert_eq!((gaps, resets), (0, snapshots), "{exchange}");
}

#[tokio::test]
async fn books_are_read_without_a_gap() {
    for case in CASES {
        let Some(script) = captured(case.exchange, case.capture) else { continue };
        is_read(case, script).await;
    }
}
