//! A plain client: WebSocket by another library, REST by hand.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use tickreel_venue::{Fault, Limits, Options, Pace, Script, Start, Venue, protocol};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a test waits for what must not come.
const NOTHING: Duration = Duration::from_millis(150);

/// The captures of a folder; says so where there are none.
pub fn data(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TICKREEL_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"),
        PathBuf::from,
    );
    let path = root.join(name);
    if !path.exists() {
        eprintln!("SKIPPED: {} is not there; set TICKREEL_DATA", path.display());
        return None;
    }
    Some(path)
}

/// The script of a capture file.
pub fn captured(exchange: &str, name: &str) -> Option<Script> {
    let protocol = protocol::of_exchange(exchange).unwrap();
    Some(Script::of_captures(&*protocol, &[data(name)?]).unwrap())
}

/// A venue without limits that begins when `topics` are subscribed.
pub async fn venue(exchange: &str, script: Script, pace: Pace, start: Start) -> Venue {
    let limits = Some(Limits::NONE);
    let options = Options { pace, start, limits, ..Options::default() };
    Venue::start(protocol::of_exchange(exchange).unwrap(), script, options).await.unwrap()
}

pub fn fault(venue: &Venue, command: &str) {
    venue.fault(&command.parse::<Fault>().unwrap()).unwrap();
}

pub struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    pub async fn connect(venue: &Venue, path: &str) -> Self {
        Self::try_connect(venue, path).await.unwrap()
    }

    pub async fn try_connect(venue: &Venue, path: &str) -> Result<Self, Error> {
        let config = tokio_tungstenite::tungstenite::protocol::WebSocketConfig::default()
            .max_message_size(Some(64 << 20))
            .max_frame_size(Some(64 << 20));
        let url = format!("{}{path}", venue.stream_url());
        let connected =
            tokio_tungstenite::connect_async_with_config(url, Some(config), false).await?;
        Ok(Self(connected.0))
    }

    pub async fn say(&mut self, text: &str) {
        self.0.send(Message::text(text.to_owned())).await.unwrap();
    }

    pub async fn ping(&mut self) {
        self.0.send(Message::Ping(b"x".to_vec().into())).await.unwrap();
    }

    /// The next message of any kind, but pings.
    pub async fn message(&mut self) -> Result<Message, Error> {
        loop {
            let next = timeout(PATIENCE, self.0.next()).await.expect("nothing came");
            match next.unwrap_or(Err(Error::ConnectionClosed)) {
                Ok(Message::Ping(_)) => {}
                other => return other,
            }
        }
    }

    /// The next text.
    pub async fn text(&mut self) -> String {
        self.message().await.unwrap().into_text().unwrap().as_str().to_owned()
    }

    pub async fn texts(&mut self, count: usize) -> Vec<String> {
        let mut texts = Vec::with_capacity(count);
        for _ in 0..count {
            texts.push(self.text().await);
        }
        texts
    }

    /// Demands that nothing comes for a while.
    pub async fn nothing(&mut self) {
        let next = timeout(NOTHING, self.0.next()).await;
        assert!(next.is_err(), "{next:?}");
    }

    /// The close frame that must come, after whatever comes before.
    pub async fn closed(&mut self) -> Option<CloseFrame> {
        loop {
            match self.message().await {
                Ok(Message::Close(frame)) => return frame,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The error that must come, after whatever comes before.
    pub async fn error(&mut self) -> Error {
        loop {
            match self.message().await {
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }
}

/// Status, head and body of the answer to `GET path`.
pub async fn get(venue: &Venue, path: &str) -> (u16, String, String) {
    request(venue, "GET", path).await
}

pub async fn request(venue: &Venue, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(venue.address()).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n\r\n", venue.address());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    loop {
        let read = timeout(PATIENCE, stream.read_buf(&mut bytes)).await.expect("no answer");
        assert!(read.unwrap() > 0, "closed within an answer");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let len = head.split("Content-Length: ").nth(1).unwrap().lines().next().unwrap();
        if body.len() == len.parse::<usize>().unwrap() {
            let status = head.split(' ').nth(1).unwrap().parse().unwrap();
            return (status, head.to_owned(), body.to_owned());
        }
    }
}

/// Opens a connection with nothing but TCP.
pub async fn raw(venue: &Venue) -> std::io::Result<TcpStream> {
    TcpStream::connect(venue.address()).await
}

pub async fn connect_plain(url: &str) -> Result<(), Error> {
    connect_async(url).await.map(|_| ())
}
