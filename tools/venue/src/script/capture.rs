//! Capture files as lines of a script.

use std::collections::HashMap;
use std::path::Path;

use tickreel::ingest::line::{self, Event, Record};
use tickreel::ingest::{Form, Format, Input};
use tickreel::{Error, Result};

use crate::protocol::{Memory, Protocol, Read};

/// Adds what a file tells.
pub(super) fn read_file(
    protocol: &dyn Protocol,
    path: &Path,
    lines: &mut Vec<(i64, Read)>,
) -> Result<()> {
    read_input(protocol, Input::open(path)?, lines).map_err(|error| error.at_path(path))
}

/// Adds what an input tells; lines of other than messages and replies say where they came from.
pub(super) fn read_input(
    protocol: &dyn Protocol,
    mut input: Input,
    lines: &mut Vec<(i64, Read)>,
) -> Result<()> {
    let mut form: Option<Form> = None;
    let mut links: HashMap<String, (String, Memory)> = HashMap::new();
    let begin = lines.len();
    while let Some(line) = input.next_line()? {
        if form.is_none() {
            let Some(Format::Capture(found)) = Format::of_line(line.text) else {
                return Err(Error::invalid("first line: expected one of a capture file"));
            };
            form = Some(found);
        }
        let Some(form) = form else { continue };
        let record = line::read(form, line.text).map_err(|error| error.at_line(line.number))?;
        let Record::Event { ts_recv, connection, event } = record else { continue };
        let read = match event {
            Event::Connected(address) => {
                let link = (address.into_owned(), Memory::new());
                links.insert(connection.into_owned(), link);
                continue;
            }
            Event::Message(text) => {
                let (address, memory) = links.entry(connection.into_owned()).or_default();
                std::str::from_utf8(&text)
                    .map_or_else(|_| Vec::new(), |text| protocol.read(memory, address, text))
            }
            Event::Reply { url, body } => {
                let body = String::from_utf8_lossy(&body);
                protocol.read_reply(&url, &body).into_iter().collect()
            }
            Event::Sent(_) | Event::Disconnected => continue,
        };
        lines.extend(read.into_iter().map(|read| (ts_recv.0, read)));
    }
    name_books(&mut lines[begin..]);
    Ok(())
}

/// A snapshot that does not say whose it is belongs to the book that spoke last, or else first.
fn name_books(lines: &mut [(i64, Read)]) {
    let book_of = |read: &Read| match read {
        Read::Message { topic, symbol, role, .. } if role.is_book() => {
            Some((topic.clone(), symbol.clone()))
        }
        _ => None,
    };
    let mut last_book = lines.iter().find_map(|(_, read)| book_of(read));
    for (_, read) in lines {
        last_book = book_of(read).or(last_book);
        if let Read::Reply { topic, symbol, .. } = read
            && topic.is_empty()
            && let Some(book) = &last_book
        {
            (*topic, *symbol) = book.clone();
        }
    }
}
