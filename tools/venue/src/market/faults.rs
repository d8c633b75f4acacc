//! Faults on command.

use super::Market;
use crate::fault::{Fault, Spoil};
use crate::frame;
use crate::outbox::End;
use crate::script::TopicId;

impl Market {
    /// Does a fault, or has it done to the messages to come. Stalling and refusing are the
    /// sockets' and only counted here.
    ///
    /// # Errors
    /// The script has no such topic, its venue no checksum, or the connection is not up.
    pub fn fault(&mut self, fault: &Fault) -> Result<(), String> {
        match fault {
            Fault::Spoil { topic, how, count } => return self.spoil(topic, *how, *count),
            Fault::Stall(on) => self.count_fault("stall", *on),
            Fault::Refuse(on) => self.count_fault("refuse", *on),
            Fault::Deaf(on) => {
                self.is_deaf = *on;
                self.count_fault("deaf", *on);
            }
            Fault::HalfFrame => {
                let mut whole = Vec::new();
                frame::push(&mut whole, frame::TEXT, b"{\"this\":\"text is never finished\"}");
                self.send_all("half", &whole[..whole.len() / 2], Some(End::Closed));
            }
            Fault::Garbage => self.send_frame_all("garbage", frame::TEXT, b"{\"a\":[}garbage\x7f"),
            Fault::Binary => {
                let bytes: Vec<u8> = (0..257u32).map(|at| (at * 197 % 251) as u8).collect();
                self.send_frame_all("binary", frame::BINARY, &bytes);
            }
            Fault::Large(bytes) => {
                let text = format!("{{\"pad\":\"{}\"}}", "x".repeat(bytes.saturating_sub(10)));
                self.send_frame_all("large", frame::TEXT, text.as_bytes());
            }
            Fault::Close(code) => {
                let close = frame::close(*code, "on command");
                self.send_all("close", &close, Some(End::Closed));
            }
            Fault::Reset => self.send_all("reset", &[], Some(End::Reset)),
            Fault::ResetOne(connection) => {
                let id = self.link(*connection)?;
                self.send_to(id, "reset", &[], Some(End::Reset));
            }
            Fault::Skip { connection, topic, count } => {
                let id = self.link(*connection)?;
                let topic = self.topic(topic)?;
                self.spoils.skip(id, topic, *count);
            }
            Fault::Status { status, count } => {
                self.statuses.extend(std::iter::repeat_n(*status, *count));
            }
            Fault::Restart => self.restart(),
            Fault::List { symbol, on: true } => drop(self.script.symbols.insert(symbol.clone())),
            Fault::List { symbol, on: false } => drop(self.script.symbols.remove(symbol)),
        }
        Ok(())
    }

    fn spoil(&mut self, topic: &str, how: Spoil, count: usize) -> Result<(), String> {
        let id = self.topic(topic)?;
        if how == Spoil::Checksum && self.protocol.checksum_key().is_none() {
            return Err("the venue sends no checksum".to_owned());
        }
        self.spoils.add(id, how, count);
        Ok(())
    }

    fn topic(&self, name: &str) -> Result<TopicId, String> {
        self.script.topic(name).ok_or_else(|| format!("no topic {name:?}"))
    }

    /// A connection that is up.
    fn link(&self, connection: usize) -> Result<u64, String> {
        let id = connection as u64;
        self.links.get(&id).map(|_| id).ok_or_else(|| format!("connection {id} is not up"))
    }

    fn count_fault(&mut self, name: &'static str, on: bool) {
        if on {
            *self.counters.faults.entry(name).or_default() += 1;
        }
    }

    fn send_frame_all(&mut self, name: &'static str, opcode: u8, payload: &[u8]) {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, opcode, payload);
        self.send_all(name, &bytes, None);
    }

    /// Sends bytes on every connection, and counts one for each.
    fn send_all(&mut self, name: &'static str, bytes: &[u8], end: Option<End>) {
        let ids: Vec<u64> = self.links.keys().copied().collect();
        ids.into_iter().for_each(|id| self.send_to(id, name, bytes, end));
    }

    /// Sends bytes on one connection, and counts one.
    fn send_to(&mut self, id: u64, name: &'static str, bytes: &[u8], end: Option<End>) {
        *self.counters.faults.entry(name).or_default() += 1;
        let Some(link) = self.links.get(&id) else { return };
        link.outbox.push(|out| out.extend_from_slice(bytes));
        if let Some(end) = end {
            link.outbox.end(end);
            self.gone(id);
        }
    }

    /// Every connection ends, every sequence begins again with 1.
    fn restart(&mut self) {
        self.send_all("restart", &frame::close(1012, "service restart"), Some(End::Closed));
        self.offsets.clear();
        for topic in 0..self.script.topics.len() {
            let about = &self.script.topics[topic];
            if !about.role.is_book() {
                continue;
            }
            let symbol = about.symbol.clone();
            let book = self.books.at(&*self.protocol, &self.script, topic, self.next);
            if book.seq > 0 {
                self.offsets.insert(symbol, book.seq - 1);
            }
        }
    }
}
