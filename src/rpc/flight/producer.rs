//! Flights and their rows, made part by part on worker threads.

use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use arrow_flight::{
    FlightData, FlightDescriptor, FlightEndpoint, FlightInfo, IpcMessage, SchemaAsIpc, Ticket,
};

use super::ticket::{self, Pattern};
use crate::arrow::ipc;
use crate::error::Result;
use crate::rpc::access::Grant;
use crate::rpc::counters::Counters;
use crate::rpc::model::ScanQuery;
use crate::rpc::scans::{Producer, RecordBatches};
use crate::store::{Snapshot, StreamInfo};

/// Flights made at once: about 256 KiB.
const FLIGHTS_PER_PART: usize = 256;

/// What is known of the rows that `query` asks for.
pub(super) fn flight_info(snapshot: &Snapshot, query: &ScanQuery) -> Result<FlightInfo> {
    let IpcMessage(schema) = schema_message(RecordBatches::open(snapshot, query)?.schema())?;
    let path = vec![query.instrument.to_string(), query.kind.name().to_owned()];
    let mut info = FlightInfo::new()
        .with_descriptor(FlightDescriptor::new_path(path))
        .with_endpoint(FlightEndpoint::new().with_ticket(Ticket::new(ticket::write(query))))
        .with_ordered(true);
    info.schema = schema;
    Ok(info)
}

/// A schema as an IPC message.
pub(super) fn schema_message(schema: &Schema) -> Result<IpcMessage> {
    let options = IpcWriteOptions::default();
    SchemaAsIpc::new(schema, &options).try_into().map_err(ipc::encode_failed)
}

/// The flights of a list.
pub(super) struct FlightsProducer {
    snapshot: Snapshot,
    streams: std::vec::IntoIter<StreamInfo>,
}

impl FlightsProducer {
    /// Those that `pattern` takes and `grant` opens.
    pub(super) fn new(snapshot: &Snapshot, grant: &Grant, pattern: &Pattern) -> Self {
        let streams = snapshot.stream_infos().into_iter();
        let streams = streams.filter(|info| pattern.takes(&info.key.instrument));
        let streams: Vec<_> = streams.filter_map(|info| grant.shows(info)).collect();
        Self { snapshot: snapshot.clone(), streams: streams.into_iter() }
    }
}

impl Producer for FlightsProducer {
    type Answer = FlightInfo;

    fn produce(&mut self) -> Result<Option<(Vec<FlightInfo>, u64)>> {
        let part = self.streams.by_ref().take(FLIGHTS_PER_PART);
        let infos = part.map(|info| {
            let all = ScanQuery::all(info.key.instrument, info.key.kind);
            let flight = flight_info(&self.snapshot, &ScanQuery { hash: false, ..all })?;
            Ok(flight.with_total_records(i64::try_from(info.rows).unwrap_or(-1)))
        });
        let infos: Vec<_> = infos.collect::<Result<_>>()?;
        Ok(Some((infos, 0)).filter(|(infos, _)| !infos.is_empty()))
    }
}

/// Rows of one flight: the schema, then record batches with their dictionaries.
pub(super) struct RowsProducer {
    batches: RecordBatches,
    generator: IpcDataGenerator,
    options: IpcWriteOptions,
    dictionaries: DictionaryTracker,
    context: IpcWriteContext,
    /// Told before the first batch.
    schema: Option<FlightData>,
    counters: Arc<Counters>,
}

impl RowsProducer {
    /// Opens the rows that `query` asks for.
    ///
    /// # Errors
    /// As [`RecordBatches::open`].
    pub(super) fn open(
        snapshot: &Snapshot,
        query: &ScanQuery,
        counters: Arc<Counters>,
    ) -> Result<Self> {
        let batches = RecordBatches::open(snapshot, query)?;
        let (generator, options) = (IpcDataGenerator::default(), IpcWriteOptions::default());
        let mut dictionaries = DictionaryTracker::new(false);
        let schema = generator.schema_to_bytes_with_dictionary_tracker(
            batches.schema(),
            &mut dictionaries,
            &options,
        );
        let context = IpcWriteContext::default();
        let schema = Some(schema.into());
        Ok(Self { batches, generator, options, dictionaries, context, schema, counters })
    }
}

impl Producer for RowsProducer {
    type Answer = FlightData;

    fn produce(&mut self) -> Result<Option<(Vec<FlightData>, u64)>> {
        if let Some(schema) = self.schema.take() {
            return Ok(Some((vec![schema], 0)));
        }
        let Some(batch) = self.batches.next_batch()? else { return Ok(None) };
        if batch.num_rows() == 0 {
            return Ok(Some((Vec::new(), 0)));
        }
        let Self { generator, options, dictionaries, context, .. } = self;
        let (dictionaries, rows) =
            generator.encode(&batch, dictionaries, options, context).map_err(ipc::encode_failed)?;
        let parts = dictionaries.into_iter().chain([rows]).map(FlightData::from);
        let parts: Vec<_> = parts.collect();
        let bytes = parts.iter().map(|part| part.data_body.len() as u64).sum();
        self.counters.bytes_sent.add(bytes);
        Ok(Some((parts, batch.num_rows() as u64)))
    }
}
