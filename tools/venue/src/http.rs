//! HTTP, as far as a client of a venue needs it: requests in, answers out, one after another.

use std::fmt::Write;

use crate::protocol::Request;

/// Bytes of a request before its body.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// A request as it came, with what asks for a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    pub request: Request,
    /// Path and query as sent.
    pub target: String,
    /// The key of a WebSocket handshake.
    pub upgrade: Option<String>,
}

/// Takes the first whole request from `bytes`; `Ok(None)` if more must come.
///
/// # Errors
/// It is no HTTP request.
pub(crate) fn take(bytes: &mut Vec<u8>) -> Result<Option<Heard>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        let too_long = bytes.len() > HEAD_BYTES_MAX;
        return if too_long { Err("a head without an end".to_owned()) } else { Ok(None) };
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap_or("").split(' ');
    let (Some(method), Some(target)) = (first.next(), first.next()) else {
        return Err(format!("{head:?}"));
    };
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<(String, &str)> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim())).collect();
    let header = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| *value);
    let len = header("content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
    let body_from = end + 4;
    if bytes.len() < body_from + len {
        return Ok(None);
    }
    let body = String::from_utf8_lossy(&bytes[body_from..body_from + len]).into_owned();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query.split('&').filter(|pair| !pair.is_empty());
    let query = query.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let is_upgrade = header("upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket"));
    let heard = Heard {
        request: Request {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.map(|(key, value)| (key.to_owned(), unescape(value))).collect(),
            body,
            host: header("host").unwrap_or("").to_owned(),
        },
        target: target.to_owned(),
        upgrade: header("sec-websocket-key").filter(|_| is_upgrade).map(str::to_owned),
    };
    bytes.drain(..body_from + len);
    Ok(Some(heard))
}

/// `%2F` and `+` of a query.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let digits = [bytes.next().unwrap_or(b'0'), bytes.next().unwrap_or(b'0')];
                let digits = String::from_utf8_lossy(&digits).into_owned();
                out.push(u8::from_str_radix(&digits, 16).unwrap_or(b'?'));
            }
            byte => out.push(byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// An answer as bytes.
pub(crate) fn answer(status: u16, body: &str) -> Vec<u8> {
    let reason = match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        418 => "I'm a teapot",
        429 => "Too Many Requests",
        _ => "Internal Server Error",
    };
    let mut head = format!("HTTP/1.1 {status} {reason}\r\nContent-Type: application/json\r\n");
    match status {
        429 => head.push_str("Retry-After: 1\r\n"),
        418 => head.push_str("Retry-After: 2\r\n"),
        _ => {}
    }
    // Writing to a string cannot fail.
    let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body.as_bytes());
    bytes
}

/// The answer that makes the connection a WebSocket.
pub(crate) fn upgrade(accept: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_one_by_one() {
        let mut bytes = b"GET /a/b?x=1&y=b%3Ac HTTP/1.1\r\nHost: h:1\r\n\r\n".to_vec();
        bytes.extend_from_slice(b"POST /c HTTP/1.1\r\nContent-Length: 3\r\n\r\nab");

        let get = take(&mut bytes).unwrap().unwrap();
        assert_eq!((get.request.path.as_str(), get.request.host.as_str()), ("/a/b", "h:1"));
        assert_eq!(get.request.value("y"), Some("b:c"));
        assert_eq!(get.upgrade, None);
        assert_eq!(take(&mut bytes).unwrap(), None);
        bytes.push(b'c');
        assert_eq!(take(&mut bytes).unwrap().unwrap().request.body, "abc");
        assert!(bytes.is_empty());
        assert!(take(&mut vec![b'x'; HEAD_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn too_many_says_when_to_come_back() {
        let text = String::from_utf8(answer(429, "{}")).unwrap();
        assert!(text.contains("Retry-After: 1\r\n") && text.ends_with("\r\n\r\n{}"));
    }
}
