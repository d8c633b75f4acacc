//! Arrow Flight: every stream is a flight, and its rows are those of a scan.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Criteria, FlightDescriptor, FlightInfo, Ticket};
use futures_util::TryStreamExt;
use tickreel::Kind;
use tickreel::arrow::from_record_batch;
use tickreel::event::{ContentHash, StreamKey, trades};
use tickreel::replay::Filter;
use tickreel::rpc::{Access, ScanQuery, ServeOptions, new_token};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::market::{EVERY_NS, Market, START, Served, btc, swap};

type Flight = FlightServiceClient<Channel>;

async fn flight(served: &Served) -> Flight {
    FlightServiceClient::new(served.channel().await)
}

async fn list(flight: &mut Flight, pattern: &str) -> Vec<FlightInfo> {
    let criteria = Criteria { expression: pattern.to_owned().into() };
    flight.list_flights(criteria).await.unwrap().into_inner().try_collect().await.unwrap()
}

async fn rows(flight: &mut Flight, ticket: impl Into<bytes::Bytes>) -> Vec<RecordBatch> {
    let answers = flight.do_get(Ticket::new(ticket)).await.unwrap().into_inner();
    let answers = answers.map_err(arrow_flight::error::FlightError::from);
    FlightRecordBatchStream::new_from_flight_data(answers).try_collect().await.unwrap()
}

/// Content hash of all batches.
fn hash(kind: Kind, batches: &[RecordBatch]) -> (u64, ContentHash) {
    let (mut rows, mut hash) = (0, ContentHash::EMPTY);
    for batch in batches {
        let batch = from_record_batch(kind, batch).unwrap();
        rows += batch.rows() as u64;
        hash.update(&batch, 0..batch.messages());
    }
    (rows, hash)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_stream_is_a_flight_with_all_its_rows() {
    let market = Market::new(3000);
    let served = market.serve().await;
    let mut flight = flight(&served).await;
    let infos = market.store.snapshot().unwrap().stream_infos();

    let flights = list(&mut flight, "").await;

    assert_eq!(flights.len(), infos.len());
    for (listed, info) in flights.into_iter().zip(infos) {
        let StreamKey { instrument, kind } = info.key;
        let descriptor = listed.flight_descriptor.clone().unwrap();
        assert_eq!(descriptor.path, [instrument.to_string(), kind.name().to_owned()]);
        assert_eq!(u64::try_from(listed.total_records).unwrap(), info.rows);
        let told = flight.get_flight_info(descriptor.clone()).await.unwrap().into_inner();
        assert_eq!(told.endpoint, listed.endpoint);
        let schema = flight.get_schema(descriptor).await.unwrap().into_inner();
        assert_eq!(schema.schema, listed.schema);

        let ticket = told.endpoint[0].ticket.clone().unwrap().ticket;
        let batches = rows(&mut flight, ticket).await;
        assert_eq!(hash(kind, &batches), (info.rows, info.hash), "{instrument} {kind}");
        assert_eq!(batches[0].schema().as_ref(), &listed.try_decode_schema().unwrap());
    }
    let okex = list(&mut flight, "okex*").await;
    let names: Vec<_> =
        okex.iter().map(|f| &f.flight_descriptor.as_ref().unwrap().path[0]).collect();
    assert!(!names.is_empty() && names.iter().all(|name| **name == swap().to_string()));
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_chooses_time_columns_rows_and_form() {
    let market = Market::new(3000);
    let served = market.serve().await;
    let mut flight = flight(&served).await;
    let (from, to) = (START + 500 * EVERY_NS, START + 9000 * EVERY_NS);
    let ticket = format!(
        r#"{{"instrument":"{}","kind":"trades","from":{from},"to":{to},"columns":["qty","side"],
            "where":["qty>=0.5","side=buy"],"decimals":"float64"}}"#,
        btc()
    );

    let batches = rows(&mut flight, ticket).await;

    let filter = Filter::parse(Kind::Trades, &["qty>=0.5", "side=buy"]).unwrap();
    let scan = ScanQuery { filter, ..ScanQuery::all(btc(), Kind::Trades) };
    let range = tickreel::TsNs(from)..tickreel::TsNs(to);
    let mut expected = Vec::new();
    let mut typed = served.client.scan(&ScanQuery { range, ..scan }).await.unwrap();
    while let Some(batch) = typed.next_batch().await.unwrap() {
        let scale = 10f64.powi(batch.scale(trades::QTY).into());
        expected.extend(batch.i64s(trades::QTY).iter().map(|qty| *qty as f64 / scale));
        assert!(batch.u8s(trades::SIDE).iter().all(|side| *side == 0));
    }
    assert!(expected.len() > 50 && expected.iter().all(|qty| *qty >= 0.5), "{expected:?}");
    let found: Vec<f64> = batches
        .iter()
        .flat_map(|batch| {
            assert_eq!(batch.num_columns(), 2);
            let qty = batch.column(0).as_any().downcast_ref::<arrow::array::Float64Array>();
            qty.unwrap().values().to_vec()
        })
        .collect();
    assert_eq!(found, expected);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_or_not_there_is_said() {
    let market = Market::new(100);
    let served = market.serve().await;
    let mut flight = flight(&served).await;
    let path =
        |parts: &[&str]| FlightDescriptor::new_path(parts.iter().map(|&p| p.into()).collect());

    for (descriptor, code) in [
        (path(&["binance-futures:BTCUSDT"]), Code::InvalidArgument),
        (path(&["binance-futures:BTCUSDT", "candles"]), Code::InvalidArgument),
        (path(&["binance-futures:NOPE", "book"]), Code::NotFound),
        (FlightDescriptor::new_cmd("{}"), Code::InvalidArgument),
    ] {
        let status = flight.get_flight_info(descriptor.clone()).await.unwrap_err();
        assert_eq!(status.code(), code, "{status:?}");
        assert_eq!(flight.get_schema(descriptor).await.unwrap_err().code(), code);
    }
    let status = flight.do_get(Ticket::new("SELECT 1")).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("ticket: "), "{status:?}");
    let long = format!(r#"{{"instrument":"a:{}","kind":"book"}}"#, "x".repeat(1 << 16));
    assert!(flight.do_get(Ticket::new(long)).await.is_err());
    let action = arrow_flight::Action::new("DropTable", "x");
    assert_eq!(flight.do_action(action).await.unwrap_err().code(), Code::Unimplemented);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_the_same_as_everywhere() {
    let market = Market::new(100);
    let (token, sha256) = new_token().unwrap();
    let entry = format!("[[token]]\nname = \"a\"\nsha256 = \"{sha256}\"\nkinds = [\"trades\"]\n");
    let access = Access::parse(&entry, Path::new("tokens.toml")).unwrap();
    let options = ServeOptions { access, ..ServeOptions::default() };
    let served = Served::new(market.store.clone(), options).await;
    let mut flight = flight(&served).await;
    let with_token = |criteria| {
        let mut request = Request::new(criteria);
        let value = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    };

    let status = flight.list_flights(Criteria::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    let listed = flight.list_flights(with_token(Criteria::default())).await.unwrap().into_inner();
    let listed: Vec<FlightInfo> = listed.try_collect().await.unwrap();
    assert!(listed.iter().all(|info| info.flight_descriptor.as_ref().unwrap().path[1] == "trades"));
    assert!(!listed.is_empty());
    let book = format!(r#"{{"instrument":"{}","kind":"book"}}"#, btc());
    let mut request = Request::new(Ticket::new(book));
    let value = MetadataValue::try_from(format!("Bearer {token}")).unwrap();
    request.metadata_mut().insert("authorization", value);
    assert_eq!(flight.do_get(request).await.unwrap_err().code(), Code::NotFound);
    served.stop().await;
}
