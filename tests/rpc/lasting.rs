//! A lost connection changes nothing of a lasting replay, whatever it was doing meanwhile.

use std::time::Duration;

use tickreel::rpc::{Client, Event, Output, Patience, ReplayQuery};
use tokio::io::{AsyncReadExt, copy};
use tokio::net::{TcpListener, TcpStream};

use crate::market::{Market, Served, btc, swap};

/// A way to a server that is lost after just so many bytes of answers, and works from then on.
async fn breaking(served: &Served, mut bytes: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let target = served.url.trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let server = TcpStream::connect(&target).await.unwrap();
            tokio::spawn(carry(client, server, std::mem::replace(&mut bytes, u64::MAX)));
        }
    });
    url
}

async fn carry(mut client: TcpStream, mut server: TcpStream, bytes: u64) {
    let (mut from_client, mut to_client) = client.split();
    let (from_server, mut to_server) = server.split();
    let mut answers = from_server.take(bytes);
    tokio::select! {
        _ = copy(&mut from_client, &mut to_server) => {}
        _ = copy(&mut answers, &mut to_client) => {}
    }
}

fn quick() -> Patience {
    Patience { first: Duration::from_millis(1), longest: Duration::from_millis(20), attempts: 200 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_books_counts_those_of_every_connection() {
    let market = Market::new(5000);
    let served = market.serve().await;
    let client = Client::connect(&breaking(&served, 30_000).await).await.unwrap();
    let query = ReplayQuery {
        output: Output::books(3),
        frame_rows_max: 100,
        ..ReplayQuery::all(&[btc(), swap()])
    };
    let mut session = client.replay_for_good(&query, quick()).await.unwrap();
    let (mut rows, mut before) = (vec![0; 2], 0);
    let end = loop {
        match session.next().await.unwrap().unwrap() {
            Event::Books(frame) => {
                for (stream, table) in &frame.tables {
                    rows[*stream] += table.num_rows() as u64;
                }
            }
            Event::Reconnected => before = rows.iter().sum(),
            Event::End(end) => break end,
            _ => {}
        }
    };

    assert!(before > 0);
    let counted: Vec<_> = end.streams.iter().map(|total| total.hash.rows()).collect();
    assert_eq!(counted, rows);
    assert_eq!((end.rows, end.hash), (rows.iter().sum(), None));
    served.stop().await;
}
