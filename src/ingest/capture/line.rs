//! One line of a capture file: when it was received, on which connection, and what it was.

use std::borrow::Cow;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::ingest::Frame;
use crate::ingest::json::{self, Number};
use crate::quantity::TsNs;

/// How the lines of a capture file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `<local time> <JSON>`, the local time in milli-, micro- or nanoseconds since 1970.
    LocalTime,
    /// One JSON object per line, `{"t":"recv","conn":...,"ts":...,"data":...}`.
    CryptofeedJson,
    /// `<time>: <message>` and `<address> <-> <time>`.
    CryptofeedText,
}

/// A line, read; everything borrows from it where it can.
#[derive(Debug)]
pub enum Record<'a> {
    /// What the recorder says about itself.
    Header {
        /// The exchange as the recorder calls it.
        exchange: Cow<'a, str>,
    },
    /// Something happened on a connection.
    Event {
        /// When.
        ts_recv: TsNs,
        /// The recorder's name of the connection; empty if the file has only one.
        connection: Cow<'a, str>,
        /// What.
        event: Event<'a>,
    },
    /// A blank line.
    Blank,
}

/// [`Frame`] with text of its own where the line had it escaped.
#[derive(Debug)]
pub enum Event<'a> {
    /// The connection to this address is up.
    Connected(Cow<'a, str>),
    /// The client sent this text.
    Sent(Cow<'a, [u8]>),
    /// The venue sent this message.
    Message(Cow<'a, [u8]>),
    /// The venue answered a REST request.
    Reply {
        /// The request.
        url: Cow<'a, str>,
        /// The body.
        body: Cow<'a, [u8]>,
    },
    /// The connection was lost.
    Disconnected,
}

impl Event<'_> {
    /// The event as a dialect takes it.
    pub fn frame(&self) -> Frame<'_> {
        match self {
            Self::Connected(url) => Frame::Connected { url },
            Self::Sent(text) => Frame::Sent(text),
            Self::Message(message) => Frame::Message(message),
            Self::Reply { url, body } => Frame::Reply { url, body },
            Self::Disconnected => Frame::Disconnected,
        }
    }
}

/// Reads one line of a capture of this form.
///
/// # Errors
/// [`crate::ErrorKind::Invalid`] with what the line lacks.
pub fn read(form: Form, line: &[u8]) -> Result<Record<'_>> {
    if line.trim_ascii().is_empty() {
        return Ok(Record::Blank);
    }
    match form {
        Form::LocalTime => read_local_time(line),
        Form::CryptofeedJson => read_cryptofeed_json(line),
        Form::CryptofeedText => read_cryptofeed_text(line),
    }
}

/// `<local time> <JSON>`
fn read_local_time(line: &[u8]) -> Result<Record<'_>> {
    let expected = || Error::invalid("line: expected <local time> <JSON message>");
    let at = line.iter().position(|byte| *byte == b' ').ok_or_else(expected)?;
    let (time, message) = line.split_at(at);
    let message = message.trim_ascii();
    if !matches!(message.first(), Some(b'{' | b'[')) {
        return Err(expected());
    }
    let time: i64 = json::text(time)?.parse().map_err(|_| expected())?;
    Ok(Record::Event {
        ts_recv: local_time(time)?,
        connection: Cow::Borrowed(""),
        event: Event::Message(Cow::Borrowed(message)),
    })
}

/// A count of milli-, micro- or nanoseconds since 1970; the magnitude tells which, for any moment
/// between 1973 and 2262.
fn local_time(count: i64) -> Result<TsNs> {
    match count {
        100_000_000_000..100_000_000_000_000 => json::ts_ms(count),
        100_000_000_000_000..100_000_000_000_000_000 => json::ts_us(count),
        100_000_000_000_000_000.. => Ok(TsNs(count)),
        _ => Err(Error::invalid(format!(
            "local time {count}: expected milli-, micro- or nanoseconds since 1970"
        ))),
    }
}

#[derive(Deserialize)]
struct JsonLine<'a> {
    #[serde(borrow)]
    t: Cow<'a, str>,
    #[serde(borrow, default)]
    conn: Cow<'a, str>,
    #[serde(borrow)]
    ts: Option<Number<'a>>,
    url: Option<Cow<'a, str>>,
    addr: Option<Cow<'a, str>>,
    data: Option<Cow<'a, str>>,
    b64: Option<Cow<'a, str>>,
    exchange: Option<Cow<'a, str>>,
}

/// `{"t":"recv","conn":...,"ts":...,"data":...}`
fn read_cryptofeed_json(line: &[u8]) -> Result<Record<'_>> {
    let line: JsonLine<'_> = json::parse(line)?;
    if line.t == "header" {
        return Ok(Record::Header { exchange: line.exchange.unwrap_or_default() });
    }
    let missing = |field: &str| Error::invalid(format!("line {:?}: expected {field}", line.t));
    let bytes = || match (&line.data, &line.b64) {
        (Some(text), _) => Ok(Cow::Owned(text.as_bytes().to_vec())),
        (None, Some(text)) => decode_base64(text).map(Cow::Owned),
        (None, None) => Err(missing("data or b64")),
    };
    let event = match &*line.t {
        "recv" => match line.data {
            Some(Cow::Owned(text)) => Event::Message(Cow::Owned(text.into_bytes())),
            Some(Cow::Borrowed(text)) => Event::Message(Cow::Borrowed(text.as_bytes())),
            None => Event::Message(bytes()?),
        },
        "send" => Event::Sent(bytes()?),
        "http" => {
            let url = line.url.clone().ok_or_else(|| missing("url"))?;
            Event::Reply { url, body: bytes()? }
        }
        "connect" => Event::Connected(line.addr.ok_or_else(|| missing("addr"))?),
        "close" | "disconnect" => Event::Disconnected,
        other => {
            return Err(Error::invalid(format!(
                "line: expected t to be header, http, connect, send or recv, found {other:?}"
            )));
        }
    };
    let ts = line.ts.ok_or_else(|| missing("ts"))?;
    Ok(Record::Event { ts_recv: json::ts_seconds(ts.text())?, connection: line.conn, event })
}

/// `<addr> <-> ts`, `<addr> <- ts: sent`, `<addr> -> ts: reply`, `ts: message`
fn read_cryptofeed_text(line: &[u8]) -> Result<Record<'_>> {
    let text = json::text(line)?;
    let event = |ts: &str, event| {
        let ts_recv = json::ts_seconds(ts.trim())?;
        Ok(Record::Event { ts_recv, connection: Cow::Borrowed(""), event })
    };
    let expected =
        || Error::invalid("line: expected <time>: <message>, <address> <-> <time> or <- <time>:");
    if text.starts_with(|first: char| first.is_ascii_digit()) {
        let (ts, message) = text.split_once(": ").ok_or_else(expected)?;
        return event(ts, Event::Message(Cow::Borrowed(message.as_bytes())));
    }
    let mut parts = text.splitn(3, ' ');
    let (Some(address), Some(arrow), Some(rest)) = (parts.next(), parts.next(), parts.next())
    else {
        return Err(expected());
    };
    let address = Cow::Borrowed(address);
    if arrow == "<->" {
        return event(rest, Event::Connected(address));
    }
    let (ts, body) = rest.split_once(": ").ok_or_else(expected)?;
    let body = Cow::Borrowed(body.as_bytes());
    match arrow {
        "<-" => event(ts, Event::Sent(body)),
        "->" => event(ts, Event::Reply { url: address, body }),
        _ => Err(expected()),
    }
}

/// Standard base64 (RFC 4648, section 4) with or without padding.
fn decode_base64(text: &str) -> Result<Vec<u8>> {
    let digits = text.trim_end_matches('=').as_bytes();
    let bad = || Error::invalid("b64: expected base64 text");
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for four in digits.chunks(4) {
        let mut bits = 0u32;
        for at in 0..4 {
            let value = match four.get(at) {
                Some(byte @ b'A'..=b'Z') => byte - b'A',
                Some(byte @ b'a'..=b'z') => byte - b'a' + 26,
                Some(byte @ b'0'..=b'9') => byte - b'0' + 52,
                Some(b'+') => 62,
                Some(b'/') => 63,
                None => 0,
                Some(_) => return Err(bad()),
            };
            bits = bits << 6 | u32::from(value);
        }
        let [_, whole @ ..] = bits.to_be_bytes();
        // 2, 3 or 4 digits hold 1, 2 or 3 bytes; one digit alone holds none.
        let count = four.len().checked_sub(1).filter(|count| *count > 0).ok_or_else(bad)?;
        bytes.extend_from_slice(whole.get(..count).ok_or_else(bad)?);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(form: Form, line: &str) -> (i64, String, String) {
        match read(form, line.as_bytes()).unwrap() {
            Record::Event { ts_recv, connection, event } => {
                (ts_recv.0, connection.into_owned(), format!("{:?}", event.frame()))
            }
            other => panic!("{other:?}"),
        }
    }

    fn message(text: &str) -> String {
        format!("{:?}", Frame::Message(text.as_bytes()))
    }

    #[test]
    fn local_time_is_told_by_its_magnitude() {
        for (line, ns) in [
            ("1723161256172216566 {}", 1_723_161_256_172_216_566),
            ("1680652700423575 {}", 1_680_652_700_423_575_000),
            ("1680652700423 {}", 1_680_652_700_423_000_000),
        ] {
            let expected = (ns, String::new(), message("{}"));
            assert_eq!(event(Form::LocalTime, line), expected);
        }
        for bad in
            ["1680652700 {}", "x {}", "1680652700423{}", "1680652700423 x", "-1680652700423 {}"]
        {
            assert!(read(Form::LocalTime, bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(matches!(read(Form::LocalTime, b" ").unwrap(), Record::Blank));
    }

    #[test]
    fn cryptofeed_json_lines_become_frames_with_exact_times() {
        let form = Form::CryptofeedJson;
        assert_eq!(
            event(
                form,
                r#"{"t":"recv","conn":"c.ws.1","ts":1633998514.6462898,"data":"{\"a\":1}"}"#
            ),
            (1_633_998_514_646_289_800, "c.ws.1".to_owned(), message(r#"{"a":1}"#))
        );
        assert_eq!(
            event(form, r#"{"t":"recv","conn":"c","ts":1,"b64":"H4sA/w=="}"#).2,
            format!("{:?}", Frame::Message(&[0x1f, 0x8b, 0x00, 0xff]))
        );
        assert_eq!(
            event(form, r#"{"t":"connect","conn":"c","ts":1,"addr":"wss://x"}"#).2,
            format!("{:?}", Frame::Connected { url: "wss://x" })
        );
        assert_eq!(
            event(form, r#"{"t":"http","conn":"h","ts":1,"url":"https://x","data":"{}"}"#).2,
            format!("{:?}", Frame::Reply { url: "https://x", body: b"{}" })
        );
        assert_eq!(
            event(form, r#"{"t":"send","conn":"c","ts":1,"addr":"wss://x","data":"{}"}"#).2,
            format!("{:?}", Frame::Sent(b"{}"))
        );
        let header = br#"{"t":"header","format":2,"exchange":"OKX","config":{"a":[1]}}"#;
        let header = read(form, header).unwrap();
        assert!(matches!(header, Record::Header { exchange } if exchange == "OKX"));
        for bad in [
            "{}",
            r#"{"t":"recv","ts":1}"#,
            r#"{"t":"recv","data":"x"}"#,
            r#"{"t":"recv","ts":1,"b64":"H"}"#,
            r#"{"t":"recv","ts":1,"b64":"H*AA"}"#,
            r#"{"t":"recv","ts":"1s","data":"x"}"#,
            r#"{"t":"http","ts":1,"data":"x"}"#,
            r#"{"t":"connect","ts":1}"#,
            r#"{"t":"other","ts":1}"#,
            r#"{"t":"recv","ts":1,"data":"x""#,
        ] {
            assert!(read(form, bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn cryptofeed_text_lines_become_frames() {
        let form = Form::CryptofeedText;
        assert_eq!(
            event(form, "wss://x/y <-> 1646003666.6408682"),
            (
                1_646_003_666_640_868_200,
                String::new(),
                format!("{:?}", Frame::Connected { url: "wss://x/y" })
            )
        );
        assert_eq!(event(form, "wss://x <- 1.5: {}").2, format!("{:?}", Frame::Sent(b"{}")));
        assert_eq!(
            event(form, "https://x -> 1.5: {}").2,
            format!("{:?}", Frame::Reply { url: "https://x", body: b"{}" })
        );
        assert_eq!(
            event(form, r#"1.5: {"a": 1}"#),
            (1_500_000_000, "".into(), message(r#"{"a": 1}"#))
        );
        assert!(matches!(read(form, b"").unwrap(), Record::Blank));
        for bad in ["1.5 {}", "wss://x", "wss://x <- 1.5", "wss://x >> 1.5: {}", "1.x: {}"] {
            assert!(read(form, bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
