//! A terminal as a screen with keys: raw while it is held, as it was afterwards.

use std::io::{Read, Write};

use rustix::termios::{self, LocalModes, OptionalActions, Termios};
use tokio::sync::mpsc;

use super::screen::write_error;
use crate::error::{Error, ErrorKind, Result};

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A letter, digit or sign.
    Char(char),
    /// An arrow.
    Left,
    /// An arrow.
    Right,
    /// An arrow.
    Up,
    /// An arrow.
    Down,
}

/// The terminal of the process, whole screen. Dropping it puts everything back.
pub struct Terminal {
    before: Termios,
    /// Keys that were pressed.
    pub keys: mpsc::Receiver<Key>,
}

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if standard input is none.
    pub fn open() -> Result<Self> {
        let failed = |error: rustix::io::Errno| {
            Error::new(ErrorKind::Io, format!("cannot use the terminal: {error}"))
        };
        let stdin = std::io::stdin();
        let before = termios::tcgetattr(&stdin).map_err(failed)?;
        let mut keyed = before.clone();
        // Ctrl-C stays a signal.
        keyed.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        termios::tcsetattr(&stdin, OptionalActions::Now, &keyed).map_err(failed)?;
        let (sender, keys) = mpsc::channel(16);
        let terminal = Self { before, keys };
        std::thread::spawn(move || read_keys(&sender));
        // Another screen, without a cursor.
        terminal.write("\x1b[?1049h\x1b[?25l")?;
        Ok(terminal)
    }

    /// Columns and lines.
    pub fn size(&self) -> (usize, usize) {
        let size = termios::tcgetwinsize(std::io::stdout());
        let (columns, lines) = size.map_or((80, 24), |size| (size.ws_col, size.ws_row));
        (usize::from(columns.max(20)), usize::from(lines.max(8)))
    }

    /// Shows lines from the upper left corner, over what was there.
    ///
    /// # Errors
    /// [`ErrorKind::Io`].
    pub fn show(&self, lines: &[String]) -> Result<()> {
        self.write(&format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n")))
    }

    fn write(&self, text: &str) -> Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(write_error)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nobody is left to be told if this fails.
        drop(self.write("\x1b[?25h\x1b[?1049l"));
        let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Reads keys until the process ends.
fn read_keys(sender: &mpsc::Sender<Key>) {
    let mut buffer = [0; 64];
    while let Ok(len @ 1..) = std::io::stdin().read(&mut buffer) {
        for key in keys(buffer.get(..len).unwrap_or_default()) {
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    }
}

/// The keys that these bytes stand for.
fn keys(mut bytes: &[u8]) -> Vec<Key> {
    let mut found = Vec::new();
    while let Some((&first, rest)) = bytes.split_first() {
        bytes = rest;
        let key = match (first, rest) {
            (0x1b, [b'[' | b'O', code, after @ ..]) => {
                bytes = after;
                match code {
                    b'A' => Key::Up,
                    b'B' => Key::Down,
                    b'C' => Key::Right,
                    b'D' => Key::Left,
                    _ => continue,
                }
            }
            (b' '..=b'~', _) => Key::Char(char::from(first)),
            _ => continue,
        };
        found.push(key);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_arrows_are_told_apart_also_many_at_once() {
        assert_eq!(keys(b" q"), [Key::Char(' '), Key::Char('q')]);
        assert_eq!(
            keys(b"\x1b[D+\x1b[C\x1bOA\x1b[B-"),
            [Key::Left, Key::Char('+'), Key::Right, Key::Up, Key::Down, Key::Char('-')]
        );
        assert_eq!(keys(b"\x1b\x1b[Zs\n\xff"), [Key::Char('s')]);
    }
}
