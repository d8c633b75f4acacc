//! Rows over the wire equal those of the store.

use arrow::datatypes::DataType;
use tickreel::arrow::DecimalAs;
use tickreel::event::{Batch, BatchBuilder, ContentHash, Kind, StatusRow, StatusWhat, StreamKey};
use tickreel::replay::Filter;
use tickreel::rpc::ScanQuery;
use tickreel::segment::ColumnMask;
use tickreel::store::{ImportOptions, Store};
use tickreel::{ErrorKind, TsNs};

use crate::market::{EVERY_NS, Market, START, Served, btc, swap};

fn local(store: &Store, query: &ScanQuery) -> Batch {
    let snapshot = store.snapshot().unwrap();
    let (instrument, range) = (&query.instrument, query.range.clone());
    let mut scan = snapshot.scan(instrument, query.kind, range, ColumnMask::ALL).unwrap();
    let mut all = Batch::new(query.kind);
    while let Some(batch) = scan.next_batch().unwrap() {
        all.append(batch).unwrap();
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_row_of_every_kind_comes_as_it_is_stored() {
    let market = Market::new(40_000);
    let served = market.serve().await;
    for (instrument, kind) in
        [(btc(), Kind::Book), (btc(), Kind::Trades), (swap(), Kind::Quotes), (btc(), Kind::Status)]
    {
        let whole = ScanQuery::all(instrument, kind);
        let cut = TsNs(START + 77 * EVERY_NS)..TsNs(START + 20_000 * EVERY_NS);
        let part = ScanQuery { range: cut, ..whole.clone() };
        let none = ScanQuery { range: TsNs(5)..TsNs(5), ..whole.clone() };
        for query in [whole, part, none] {
            let mut scan = served.client.scan(&query).await.unwrap();
            let (mut all, mut batches) = (Batch::new(kind), 0);
            while let Some(batch) = scan.next_batch().await.unwrap() {
                all.append(&batch).unwrap();
                batches += 1;
            }

            let expected = local(&market.store, &query);
            let mut hash = ContentHash::EMPTY;
            hash.update_all(&expected);
            let end = scan.end().unwrap();
            assert_eq!((end.rows, end.batches), (expected.rows() as u64, batches));
            assert_eq!(end.hash, Some(hash));
            let mut heard = ContentHash::EMPTY;
            heard.update_all(&all);
            assert_eq!(heard, hash);
            assert_eq!(all.ends(), expected.ends());
            assert!(scan.schema().is_some());
        }
    }
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn columns_come_in_the_order_asked_for_and_decimals_in_the_form() {
    let market = Market::new(500);
    let served = market.serve().await;
    let query = ScanQuery {
        columns: vec!["qty".into(), "ts_recv".into()],
        decimals: DecimalAs::Float64,
        hash: false,
        ..ScanQuery::all(btc(), Kind::Trades)
    };

    let mut scan = served.client.scan(&query).await.unwrap();
    let batch = scan.next_record_batch().await.unwrap().unwrap();

    let schema = batch.schema();
    let names: Vec<_> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["qty", "ts_recv"]);
    assert_eq!(schema.field(0).data_type(), &DataType::Float64);
    assert_eq!(batch.num_rows(), 100);
    assert!(scan.next_record_batch().await.unwrap().is_none());
    assert_eq!(scan.end().unwrap().hash, None);

    let query = ScanQuery { columns: vec!["bid".into()], ..query };
    let error = served.client.scan(&query).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.text().contains("trade_id"), "{error}");
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_longer_than_an_answer_comes_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open_or_create(folder.path()).unwrap();
    let key = StreamKey { instrument: btc(), kind: Kind::Status };
    let long: String = (0..9u32 << 20).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    let mut builder = BatchBuilder::new(Kind::Status);
    for at in 0..3 {
        builder.status(&StatusRow {
            ts_recv: TsNs(START + at),
            ts_event: None,
            what: StatusWhat::Halted,
            detail: if at == 1 { &long } else { "short" },
        });
    }
    let mut import = store.import(ImportOptions::default()).unwrap();
    for batch in builder.finish().unwrap() {
        import.append(&key, &batch).unwrap();
    }
    import.commit().unwrap();
    let served = Served::new(store.clone(), tickreel::rpc::ServeOptions::default()).await;

    let query = ScanQuery::all(btc(), Kind::Status);
    let mut scan = served.client.scan(&query).await.unwrap();
    let mut all = Batch::new(Kind::Status);
    while let Some(batch) = scan.next_batch().await.unwrap() {
        all.append(&batch).unwrap();
    }
    assert_eq!(all, local(&store, &query));

    let query = tickreel::rpc::ReplayQuery::all(&[btc()]);
    let mut session = served.client.replay(&query).await.unwrap();
    let mut played = Batch::new(Kind::Status);
    while let Some(event) = session.next().await.unwrap() {
        match event {
            tickreel::rpc::Event::Frame(frame) => {
                frame.chunks.iter().for_each(|(_, batch)| played.append(batch).unwrap());
            }
            tickreel::rpc::Event::End(_) => break,
            _ => {}
        }
    }
    assert_eq!(played, all);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_of_which_no_row_is_wanted_for_many_blocks_comes_to_its_end() {
    let market = Market::new(90_000);
    let served = market.serve().await;
    let all = ScanQuery::all(btc(), Kind::Book);
    for (conditions, wanted) in [(&["action=reset", "action=gap"][..], false), (&["qty>0"], true)] {
        let filter = Filter::parse(Kind::Book, conditions).unwrap();
        let mut scan = served.client.scan(&ScanQuery { filter, ..all.clone() }).await.unwrap();
        let mut rows = 0;
        while let Some(batch) = scan.next_batch().await.unwrap() {
            assert!(batch.rows() > 0, "an answer without a row");
            rows += batch.rows() as u64;
        }
        assert_eq!((scan.end().unwrap().rows, rows > 0), (rows, wanted));
    }
    served.stop().await;
}
