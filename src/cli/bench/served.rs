//! What a client of the server gets, over a loopback connection in this process.

use std::time::Instant;

use super::figure::{Clock, Figure};
use super::store::{Random, ends};
use crate::error::{Error, Result};
use crate::event::StreamKey;
use crate::rpc::{BookQuery, Client, Event, ReplayQuery, ServeOptions, serve};
use crate::store::Store;

/// A replay as fast as possible, and single books.
pub(super) fn figures(store: &Store, key: &StreamKey, books: usize) -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|e| Error::invalid(format!("cannot start the runtime: {e}")))?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.map_err(|e| Error::invalid(format!("cannot listen: {e}")))?;
        let address = listener.local_addr();
        let address = address.map_err(|e| Error::invalid(format!("cannot listen: {e}")))?;
        let never = std::future::pending();
        tokio::spawn(serve(store.clone(), listener, ServeOptions::default(), never));
        let client = Client::connect(&format!("http://{address}")).await?;
        Ok(vec![replay(&client, key).await?, get_books(store, &client, key, books).await?])
    })
}

async fn replay(client: &Client, key: &StreamKey) -> Result<Figure> {
    let streams = vec![(key.instrument.clone(), vec![key.kind])];
    let query = ReplayQuery { streams, hash: false, ..ReplayQuery::all(&[]) };
    let (mut clock, mut rows, mut hash) = (Clock::start(), 0, 0u64);
    // The first pass checks every page.
    for _ in 0..2 {
        (clock, rows, hash) = (Clock::start(), 0, 0);
        let mut session = client.replay(&query).await?;
        while let Some(event) = session.next().await? {
            match event {
                Event::Frame(frame) => {
                    rows += frame.rows;
                    for (_, batch) in &frame.chunks {
                        let last = batch.ts_recv().last().copied().unwrap_or(0);
                        hash = hash.rotate_left(3) ^ last as u64;
                    }
                }
                Event::End(_) => break,
                _ => {}
            }
        }
    }
    Ok(clock.figure("served replay (both cores)", rows, hash))
}

async fn get_books(
    store: &Store,
    client: &Client,
    key: &StreamKey,
    count: usize,
) -> Result<Figure> {
    const LEVELS: usize = 25;
    let (first, last) = ends(&store.snapshot()?, key)?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut calls_us, mut hash) = (Vec::with_capacity(count), 0u64);
    let clock = Clock::start();
    for _ in 0..count {
        let at = random.time(first, last);
        let started = Instant::now();
        let query = BookQuery { instrument: key.instrument.clone(), at, depth: Some(LEVELS) };
        let book = client.book(&query).await?;
        calls_us.push(started.elapsed().as_secs_f64() * 1e6);
        hash = hash.rotate_left(5) ^ book.bids.len() as u64;
    }
    Ok(clock.figure("served book at T, 25 levels", 0, hash).with_calls(calls_us))
}
