//! A made-up market in a folder, and a server for it.

use tickreel::event::{
    Batch, BatchBuilder, Kind, MessageHead, QuoteRow, Side, StatusRow, StatusWhat, StreamKey,
    TradeRow, TradeSide,
};
use tickreel::rpc::proto::tickreel_client::TickreelClient;
use tickreel::rpc::{Client, Credentials, ServeOptions, serve};
use tickreel::store::{ImportOptions, Store};
use tickreel::{Decimal, Instrument, Result, TsNs};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

/// Receive time of the first message: 2024-08-08T12:00:00Z.
pub const START: i64 = 1_723_118_400_000_000_000;
/// Nanoseconds between two messages of one book.
pub const EVERY_NS: i64 = 100_000;

pub fn btc() -> Instrument {
    Instrument::parse("binance-futures:BTCUSDT").unwrap()
}

pub fn swap() -> Instrument {
    Instrument::parse("okex-swap:BTC-USDT-SWAP").unwrap()
}

/// A small random number generator, the same on every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, end: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        i64::try_from(self.0 >> 33).unwrap() % end
    }
}

/// A store in a folder that goes away with it.
pub struct Market {
    pub store: Store,
    pub messages: i64,
    _folder: tempfile::TempDir,
}

impl Market {
    /// Two instruments, `messages` book messages each, with gaps, resets, trades, quotes and status
    /// rows among them; some at the same time.
    pub fn new(messages: i64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open_or_create(folder.path().join("market.reel")).unwrap();
        let mut import = store.import(ImportOptions::default()).unwrap();
        let key = |instrument: Instrument, kind| StreamKey { instrument, kind };
        for (batches, instrument, kind) in [
            (book(messages, 1), btc(), Kind::Book),
            (book(messages, 2), swap(), Kind::Book),
            (trades(messages / 5), btc(), Kind::Trades),
            (quotes(messages / 3), swap(), Kind::Quotes),
            (status(), btc(), Kind::Status),
        ] {
            for batch in &batches {
                import.append(&key(instrument.clone(), kind), batch).unwrap();
            }
        }
        import.commit().unwrap();
        Self { store, messages, _folder: folder }
    }

    /// Receive time of the last book message.
    pub fn last(&self) -> TsNs {
        TsNs(START + (self.messages - 1) * EVERY_NS)
    }

    pub async fn serve(&self) -> Served {
        Served::new(self.store.clone(), ServeOptions::default()).await
    }
}

pub fn book(messages: i64, seed: u64) -> Vec<Batch> {
    let mut dice = Dice(seed);
    let mut builder = BatchBuilder::new(Kind::Book);
    let mut batches = Vec::new();
    for at in 0..messages {
        // A venue snapshot at the start and after half of the gaps.
        let snapshot = at == 0 || at % 1000 == 510;
        builder.begin(MessageHead {
            ts_recv: TsNs(START + at * EVERY_NS),
            ts_event: (at % 7 != 0).then_some(TsNs(START + at * EVERY_NS - dice.below(90_000))),
            venue_seq: Some(at * 3),
            snapshot,
        });
        if at % 500 == 499 {
            builder.gap(u64::try_from(dice.below(3)).unwrap());
        }
        for _ in 0..if snapshot { 40 } else { 1 + dice.below(3) } {
            let side = if dice.below(2) == 0 { Side::Bid } else { Side::Ask };
            let offset = 1 + dice.below(300);
            let price = if side == Side::Bid { 600_000 - offset } else { 600_000 + offset };
            let qty = if dice.below(3) == 0 && !snapshot { 0 } else { dice.below(90_000) };
            let decimal = |value, scale| Decimal::new(value, scale).unwrap();
            builder.level(side, decimal(price, 1), decimal(qty, 3));
        }
        builder.end();
        if builder.rows() > 50_000 {
            let mut full = std::mem::replace(&mut builder, BatchBuilder::new(Kind::Book));
            batches.extend(full.finish().unwrap());
        }
    }
    batches.extend(builder.finish().unwrap());
    batches
}

fn trades(rows: i64) -> Vec<Batch> {
    let mut dice = Dice(3);
    let mut builder = BatchBuilder::new(Kind::Trades);
    for at in 0..rows {
        let side = [TradeSide::Buy, TradeSide::Sell, TradeSide::Unknown][(at % 3) as usize];
        builder.trade(&TradeRow {
            ts_recv: TsNs(START + at * 5 * EVERY_NS),
            ts_event: None,
            side,
            price: Decimal::new(600_000 + dice.below(99), 1).unwrap(),
            qty: Decimal::new(1 + dice.below(999), 3).unwrap(),
            trade_id: &format!("t-{at}"),
        });
    }
    builder.finish().unwrap()
}

fn quotes(rows: i64) -> Vec<Batch> {
    let mut builder = BatchBuilder::new(Kind::Quotes);
    for at in 0..rows {
        let level = |value| (Decimal::new(value, 1).unwrap(), Decimal::new(at, 2).unwrap());
        builder.quote(&QuoteRow {
            ts_recv: TsNs(START + at * 3 * EVERY_NS + 50),
            ts_event: None,
            bid: Some(level(599_999)),
            ask: (at % 4 != 0).then(|| level(600_001)),
            venue_seq: Some(at),
        });
    }
    builder.finish().unwrap()
}

fn status() -> Vec<Batch> {
    let mut builder = BatchBuilder::new(Kind::Status);
    for (at, what) in [(0, StatusWhat::Connected), (499, StatusWhat::Gap)] {
        builder.status(&StatusRow {
            ts_recv: TsNs(START + at * EVERY_NS),
            ts_event: None,
            what,
            detail: "made up",
        });
    }
    builder.finish().unwrap()
}

/// A server of `store` at `listener`, until the sender is dropped.
pub fn serve_at(
    listener: TcpListener,
    store: Store,
) -> (oneshot::Sender<()>, JoinHandle<Result<()>>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = async move { drop(stopped.await) };
    (stop, tokio::spawn(serve(store, listener, ServeOptions::default(), stopped)))
}

/// A server that runs, and a client of it.
pub struct Served {
    pub client: Client,
    pub url: String,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<Result<()>>,
}

impl Served {
    pub async fn new(store: Store, options: ServeOptions) -> Self {
        Self::with(store, options, &Credentials::default()).await
    }

    /// A server and a client that shows `credentials`.
    pub async fn with(store: Store, options: ServeOptions, credentials: &Credentials) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(serve(store, listener, options, async move {
            drop(stopped.await);
        }));
        let client = Client::connect_with(&url, credentials).await.unwrap();
        Self { client, url, stop: Some(stop), task }
    }

    /// A connection with the defaults of the gRPC library.
    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.url.clone()).unwrap().connect().await.unwrap()
    }

    /// The client that generated code gives.
    pub async fn plain(&self) -> TickreelClient<Channel> {
        TickreelClient::new(self.channel().await)
    }

    /// Tells the server to stop and waits until it has.
    pub async fn stop(mut self) {
        drop(self.stop.take());
        self.task.await.unwrap().unwrap();
    }
}
