//! Arrow Flight: rows of streams for every Arrow library, with no code of ours at the client.
//!
//! A flight is a stream: its path is instrument and kind, e.g. `binance-futures:BTCUSDT`, `trades`.
//! A ticket says which of its rows and columns, see [`ticket`]. What Flight knows beyond reading is
//! answered with UNIMPLEMENTED: rows come in by `Append` of `tickreel.v1`.
//!
//! Only descriptors and tickets are of Flight's making; questions go the way that those of
//! `tickreel.v1` go.

mod producer;
mod ticket;

use arrow_flight::flight_service_server::FlightService;
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo,
    HandshakeRequest, HandshakeResponse, IpcMessage, PollInfo, PutResult, SchemaResult, Ticket,
};
use tonic::{Request, Response, Status, Streaming};

use super::access::Guarded;
use super::outlet::Answers;
use super::scans::RecordBatches;
use super::service::{Service, grant_of};
use crate::error::Result;
use crate::store::Snapshot;
use producer::{FlightsProducer, RowsProducer, flight_info, schema_message};

type Flights = Answers<FlightInfo>;
type Rows = Answers<FlightData>;

fn only_reads<T>(what: &str) -> Result<T, Status> {
    let text = format!("{what}: tickreel serves lists, schemas and rows; see tickreel.v1 for more");
    Err(Status::unimplemented(text))
}

#[tonic::async_trait]
impl FlightService for Service {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Flights;
    type DoGetStream = Rows;
    type DoPutStream = Answers<PutResult>;
    type DoExchangeStream = Rows;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = tokio_stream::Empty<Result<ActionType, Status>>;

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        let grant = grant_of(&request)?;
        let criteria = ticket::Pattern::parse(&request.into_inner().expression);
        let shown = std::sync::Arc::clone(&grant);
        let open = move |snapshot: &Snapshot, pattern| {
            Ok(FlightsProducer::new(snapshot, &shown, &pattern))
        };
        self.stream(&grant, criteria, open).await
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let grant = grant_of(&request)?;
        let query = ticket::of_descriptor(&request.into_inner());
        self.single(&grant, query, |snapshot, query| flight_info(snapshot, &query)).await
    }

    async fn get_schema(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<SchemaResult>, Status> {
        let grant = grant_of(&request)?;
        let query = ticket::of_descriptor(&request.into_inner());
        self.single(&grant, query, |snapshot, query| {
            let rows = RecordBatches::open(snapshot, &query)?;
            let IpcMessage(schema) = schema_message(rows.schema())?;
            Ok(SchemaResult { schema })
        })
        .await
    }

    async fn do_get(
        &self,
        request: Request<Ticket>,
    ) -> Result<Response<Self::DoGetStream>, Status> {
        let grant = grant_of(&request)?;
        let query = ticket::parse("ticket", &request.into_inner().ticket);
        let counters = self.counters();
        let open = |snapshot: &Snapshot, query| RowsProducer::open(snapshot, &query, counters);
        self.stream(&grant, query, open).await
    }

    async fn list_actions(
        &self,
        _: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(Response::new(tokio_stream::empty()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        only_reads("Handshake: show the token as `authorization: Bearer TOKEN`")
    }

    async fn poll_flight_info(
        &self,
        _: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        only_reads("PollFlightInfo")
    }

    async fn do_put(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        only_reads("DoPut")
    }

    async fn do_exchange(
        &self,
        _: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        only_reads("DoExchange")
    }

    async fn do_action(
        &self,
        _: Request<Action>,
    ) -> Result<Response<Self::DoActionStream>, Status> {
        only_reads("DoAction")
    }
}

/// What is open to a token is looked at stream by stream.
impl Guarded for ticket::Pattern {
    fn guard(&mut self, _: &super::access::Grant) -> Result<()> {
        Ok(())
    }
}
