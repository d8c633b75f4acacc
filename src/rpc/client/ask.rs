//! A connection to a server, and the questions that have one answer.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

use super::append::{AppendAnswers, AppendSender};
use super::credentials::{Bearer, Credentials};
use super::session::Session;
use super::streams::{Books, RemoteScan};
use crate::error::{Error, ErrorKind, Result};
use crate::limit;
use crate::replay::Coverage;
use crate::rpc::model::{
    BookAnswer, BookQuery, CoverageQuery, InstrumentQuery, JoinQuery, ReplayQuery, RowForm,
    SampleQuery, ScanQuery, ServerStats, StreamSummary, coverage_from, summaries_from,
};
use crate::rpc::proto;
use crate::rpc::proto::tickreel_client::TickreelClient;
use crate::rpc::status::error_of;

/// Commands of a session, or requests to append, that wait to be sent.
const COMMANDS_WAITING: usize = 16;

/// What requests go through.
type Line = InterceptedService<Channel, Bearer>;

/// A connection to a server. Cheap to clone; all clones share the connection.
///
/// Errors keep the kind and text that the server gave; where there is no server to give one the
/// kind is [`ErrorKind::Remote`].
#[derive(Clone, Debug)]
pub struct Client {
    inner: TickreelClient<Line>,
    url: String,
    credentials: Credentials,
}

impl Client {
    /// Connects to a server that wants no proof, e.g. `http://127.0.0.1:7400`.
    ///
    /// # Errors
    /// As [`Client::connect_with`].
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(url, &Credentials::default()).await
    }

    /// Connects to a server, e.g. `https://ticks.example.org:7400`, showing `credentials`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if `url` is none, a token would go over the network unencrypted or a
    /// file holds no certificate; [`ErrorKind::Remote`] if no server answers there or it is not
    /// trusted. That a token is wrong shows at the first question: [`ErrorKind::Denied`].
    pub async fn connect_with(url: &str, credentials: &Credentials) -> Result<Self> {
        let bearer = credentials.bearer()?;
        let channel = credentials.connect(url).await?;
        let inner = TickreelClient::with_interceptor(channel, bearer)
            .max_decoding_message_size(limit::RPC_ANSWER_BYTES_MAX)
            .max_encoding_message_size(limit::RPC_REQUEST_BYTES_MAX);
        Ok(Self { inner, url: url.to_owned(), credentials: credentials.clone() })
    }

    /// Another connection to the same server.
    pub(super) async fn again(&self) -> Result<Self> {
        Self::connect_with(&self.url, &self.credentials).await
    }

    fn inner(&self) -> TickreelClient<Line> {
        self.inner.clone()
    }

    /// Every stream that `query` asks for, by name.
    ///
    /// # Errors
    /// [`ErrorKind::Remote`] if the server cannot be reached or answers nonsense.
    pub async fn instruments(&self, query: &InstrumentQuery) -> Result<Vec<StreamSummary>> {
        let mut request = proto::ListInstrumentsRequest::from(query);
        let mut found = Vec::new();
        loop {
            let answer = self.inner().list_instruments(request.clone()).await;
            let answer = answer.map_err(|status| error_of(&status))?.into_inner();
            found.extend(summaries_from(&answer)?);
            if found.len() > limit::STREAMS_MAX {
                return Err(Error::limit("streams:", found.len(), limit::STREAMS_MAX));
            }
            // A token that does not move on would go round for ever.
            if answer.next_page_token <= request.page_token {
                return Ok(found);
            }
            request.page_token = answer.next_page_token;
        }
    }

    /// Ranges and gaps of the streams of an instrument, by kind.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if nothing is stored of it.
    pub async fn coverage(&self, query: &CoverageQuery) -> Result<Vec<Coverage>> {
        let mut request = proto::GetCoverageRequest::from(query);
        let mut found: Vec<Coverage> = Vec::new();
        loop {
            let answer = self.inner().get_coverage(request.clone()).await;
            let answer = answer.map_err(|status| error_of(&status))?.into_inner();
            let mut more = false;
            for stream in &answer.streams {
                let coverage = coverage_from(&query.instrument, stream)?;
                let added = coverage.gaps.len();
                let held = match found.iter_mut().find(|held| held.key == coverage.key) {
                    Some(held) => {
                        held.gaps.extend(coverage.gaps);
                        held.gaps.len()
                    }
                    None => {
                        found.push(coverage);
                        added
                    }
                };
                more |= added > 0 && (held as u64) < stream.gaps_total;
            }
            if !more {
                return Ok(found);
            }
            request.gaps_skip += limit::REQUEST_GAPS_MAX as u64;
        }
    }

    /// The book of an instrument after every message with `ts_recv <= at`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the server has no book of it; [`ErrorKind::Limit`] if the depth
    /// is above [`limit::REQUEST_DEPTH_MAX`].
    pub async fn book(&self, query: &BookQuery) -> Result<BookAnswer> {
        let answer = self.inner().get_book(proto::GetBookRequest::from(query)).await;
        answer.map_err(|status| error_of(&status))?.into_inner().try_into()
    }

    /// The books of an instrument at regular times.
    ///
    /// # Errors
    /// As [`Client::book`]; [`ErrorKind::Limit`] for more than [`limit::REQUEST_SAMPLES_MAX`]
    /// books.
    pub async fn sample(&self, query: &SampleQuery) -> Result<Books> {
        let answer = self.inner().sample_books(proto::SampleBooksRequest::from(query)).await;
        Ok(Books::new(answer.map_err(|status| error_of(&status))?.into_inner()))
    }

    /// The rows of a stream.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a stream or column that the server does not have.
    pub async fn scan(&self, query: &ScanQuery) -> Result<RemoteScan> {
        let answer = self.inner().scan(proto::ScanRequest::from(query)).await;
        let answers = answer.map_err(|status| error_of(&status))?.into_inner();
        Ok(RemoteScan::new(query.kind, answers))
    }

    /// Opens a replay.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for a stream that the server does not have; [`ErrorKind::Limit`] if
    /// too many replays are open.
    pub async fn replay(&self, query: &ReplayQuery) -> Result<Session> {
        self.begin(proto::replay_request::Command::Open(query.into()), query.form).await
    }

    /// Joins the session of a name.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if there is none; [`ErrorKind::Limit`] if too many replays are open.
    pub async fn join(&self, query: &JoinQuery) -> Result<Session> {
        self.begin(proto::replay_request::Command::Join(query.into()), query.form).await
    }

    async fn begin(&self, open: proto::replay_request::Command, form: RowForm) -> Result<Session> {
        let (sender, receiver) = mpsc::channel(COMMANDS_WAITING);
        let stopped = |_| Error::new(ErrorKind::Remote, "the session has ended");
        sender.send(proto::ReplayRequest { command: Some(open) }).await.map_err(stopped)?;
        let answer = self.inner().replay(ReceiverStream::new(receiver)).await;
        let answers = answer.map_err(|status| error_of(&status))?.into_inner();
        Session::begin(sender, answers, form).await
    }

    /// Opens a session to append rows with.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if the server only reads; [`ErrorKind::Limit`] if too many
    /// sessions are open.
    pub async fn append(&self) -> Result<(AppendSender, AppendAnswers)> {
        let (requests, receiver) = mpsc::channel(COMMANDS_WAITING);
        let mut inner = self.inner().max_encoding_message_size(limit::RPC_APPEND_BYTES_MAX);
        let answer = inner.append(ReceiverStream::new(receiver)).await;
        let answers = answer.map_err(|status| error_of(&status))?.into_inner();
        Ok((AppendSender { requests, next_id: 0 }, AppendAnswers { answers }))
    }

    /// Figures of the server and its store.
    ///
    /// # Errors
    /// [`ErrorKind::Remote`] if the server cannot be reached.
    pub async fn stats(&self) -> Result<ServerStats> {
        let answer = self.inner().get_stats(proto::GetStatsRequest {}).await;
        answer.map_err(|status| error_of(&status))?.into_inner().try_into()
    }
}
