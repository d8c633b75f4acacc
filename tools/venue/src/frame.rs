//! WebSocket frames: written as bytes that can be joined, cut and spoiled; read from a client.

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;

/// A text message.
pub const TEXT: u8 = 1;
/// A binary message.
pub const BINARY: u8 = 2;
/// The end of a connection.
pub const CLOSE: u8 = 8;
/// Is anybody there?
pub const PING: u8 = 9;
/// Yes.
pub const PONG: u8 = 10;

/// Bytes that a client may send in one frame.
const CLIENT_FRAME_BYTES_MAX: u64 = 1 << 20;

/// Adds one whole frame.
pub fn push(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    let len = payload.len();
    match len {
        0..126 => out.push(len as u8),
        126..65_536 => {
            out.push(126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(payload);
}

/// The frame that ends a connection.
#[must_use]
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(reason.as_bytes());
    let mut out = Vec::new();
    push(&mut out, CLOSE, &payload);
    out
}

/// Takes the first whole frame from `bytes`: opcode and payload; `Ok(None)` if more must come.
///
/// # Errors
/// The frame is not of the protocol or too large.
pub fn take(bytes: &mut Vec<u8>) -> Result<Option<(u8, Vec<u8>)>, String> {
    let mut cursor = Cursor::new(&bytes[..]);
    let parsed = FrameHeader::parse(&mut cursor).map_err(|error| error.to_string())?;
    let Some((header, len)) = parsed else { return Ok(None) };
    if len > CLIENT_FRAME_BYTES_MAX {
        return Err(format!("a frame of {len} bytes"));
    }
    let start = cursor.position() as usize;
    let end = start + len as usize;
    if bytes.len() < end {
        return Ok(None);
    }
    let mut payload = bytes[start..end].to_vec();
    if let Some(mask) = header.mask {
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    }
    bytes.drain(..end);
    Ok(Some((header.opcode.into(), payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_every_length_are_read_back() {
        for len in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
            let payload = vec![7; len];
            let mut bytes = Vec::new();
            push(&mut bytes, TEXT, &payload);
            push(&mut bytes, PING, b"x");

            assert_eq!(take(&mut bytes).unwrap(), Some((TEXT, payload)));
            assert_eq!(take(&mut bytes).unwrap(), Some((PING, b"x".to_vec())));
            assert_eq!(take(&mut bytes).unwrap(), None);
        }
    }

    #[test]
    fn a_part_of_a_frame_waits_and_a_large_one_is_refused() {
        let mut whole = Vec::new();
        push(&mut whole, TEXT, &[1; 300]);
        for len in 0..whole.len() {
            assert_eq!(take(&mut whole[..len].to_vec()).unwrap(), None);
        }
        let mut large = Vec::new();
        push(&mut large, TEXT, &vec![0; 1 << 20]);
        assert!(take(&mut large).is_ok());
        push(&mut large, TEXT, &vec![0; (1 << 20) + 1]);
        assert!(take(&mut large).is_err());
    }
}
