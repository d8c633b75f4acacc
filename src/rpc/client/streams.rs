//! Answers that come one after another: books and rows.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::{Bytes, BytesMut};
use tonic::Streaming;

use crate::arrow::{from_record_batch, ipc};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Batch, Kind};
use crate::limit;
use crate::rpc::model::{BookAnswer, ScanEnd};
use crate::rpc::proto;
use crate::rpc::status::error_of;

/// Books at regular times, as a server sends them. Dropping it ends the request.
#[derive(Debug)]
pub struct Books {
    answers: Streaming<proto::SampleBooksResponse>,
    waiting: std::vec::IntoIter<proto::Book>,
}

impl Books {
    pub(super) fn new(answers: Streaming<proto::SampleBooksResponse>) -> Self {
        Self { answers, waiting: Vec::new().into_iter() }
    }

    /// The next book; `None` after the last.
    ///
    /// # Errors
    /// What the server says, e.g. [`ErrorKind::Corrupt`]; [`ErrorKind::Remote`] if it is gone.
    pub async fn next(&mut self) -> Result<Option<BookAnswer>> {
        loop {
            if let Some(book) = self.waiting.next() {
                return book.try_into().map(Some);
            }
            match self.answers.message().await.map_err(|status| error_of(&status))? {
                Some(answer) => self.waiting = answer.books.into_iter(),
                None => return Ok(None),
            }
        }
    }
}

/// Rows of one stream, as a server sends them. Dropping it ends the request.
#[derive(Debug)]
pub struct RemoteScan {
    kind: Kind,
    answers: Streaming<proto::ScanResponse>,
    decoder: ipc::Decoder,
    parts: Joiner,
    waiting: std::vec::IntoIter<RecordBatch>,
    end: Option<ScanEnd>,
}

impl RemoteScan {
    pub(super) fn new(kind: Kind, answers: Streaming<proto::ScanResponse>) -> Self {
        Self {
            kind,
            answers,
            decoder: ipc::Decoder::new(),
            parts: Joiner::default(),
            waiting: Vec::new().into_iter(),
            end: None,
        }
    }

    /// The Arrow schema; known once the first batch or the end was read.
    #[must_use]
    pub fn schema(&self) -> Option<&SchemaRef> {
        self.decoder.schema()
    }

    /// The next rows as Arrow has them; `None` after the last.
    ///
    /// # Errors
    /// What the server says, e.g. [`ErrorKind::Corrupt`]; [`ErrorKind::Remote`] if it is gone.
    pub async fn next_record_batch(&mut self) -> Result<Option<RecordBatch>> {
        use proto::scan_response::Part;
        loop {
            if let Some(batch) = self.waiting.next() {
                return Ok(Some(batch));
            }
            if self.end.is_some() {
                return Ok(None);
            }
            let answer = self.answers.message().await.map_err(|status| error_of(&status))?;
            match answer.and_then(|answer| answer.part) {
                Some(Part::Arrow(part)) => {
                    if let Some(data) = self.parts.join(part.data, part.more)? {
                        self.waiting = self.decoder.decode(data)?.into_iter();
                    }
                }
                Some(Part::End(end)) => self.end = Some(end.into()),
                None => {
                    let text = "the server ended the scan before its end";
                    return Err(Error::new(ErrorKind::Remote, text));
                }
            }
        }
    }

    /// The next rows as the library has them; `None` after the last.
    ///
    /// # Errors
    /// As [`RemoteScan::next_record_batch`]; [`ErrorKind::Invalid`] if columns are missing that
    /// tell where messages end (`flags`), or decimals were asked for as doubles.
    pub async fn next_batch(&mut self) -> Result<Option<Batch>> {
        let batch = self.next_record_batch().await?;
        batch.map(|batch| from_record_batch(self.kind, &batch)).transpose()
    }

    /// Counts and hash; known after the last batch.
    #[must_use]
    pub fn end(&self) -> Option<ScanEnd> {
        self.end
    }
}

/// Joins bytes that were cut to fit answers.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    held: BytesMut,
}

impl Joiner {
    /// The whole bytes, once their last part is there.
    ///
    /// # Errors
    /// [`ErrorKind::Limit`] if they are longer than anything a store holds.
    pub(super) fn join(&mut self, data: Bytes, more: bool) -> Result<Option<Bytes>> {
        if self.held.is_empty() && !more {
            return Ok(Some(data));
        }
        let len_bytes = self.held.len().saturating_add(data.len());
        if len_bytes > limit::RPC_JOINED_BYTES_MAX {
            let max = limit::RPC_JOINED_BYTES_MAX;
            return Err(Error::limit("bytes of one record batch:", len_bytes, max));
        }
        self.held.extend_from_slice(&data);
        Ok((!more).then(|| std::mem::take(&mut self.held).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_up_to_the_limit() {
        let mut joiner = Joiner::default();
        assert_eq!(joiner.join(Bytes::from("ab"), false).unwrap().unwrap(), "ab");
        assert!(joiner.join(Bytes::from("ab"), true).unwrap().is_none());
        assert!(joiner.join(Bytes::new(), true).unwrap().is_none());
        assert_eq!(joiner.join(Bytes::from("c"), false).unwrap().unwrap(), "abc");
        assert_eq!(joiner.join(Bytes::from("d"), false).unwrap().unwrap(), "d");

        let half = Bytes::from(vec![0; limit::RPC_JOINED_BYTES_MAX / 2]);
        assert!(joiner.join(half.clone(), true).unwrap().is_none());
        assert!(joiner.join(half, true).unwrap().is_none());
        let error = joiner.join(Bytes::from("x"), true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Limit);
    }
}
