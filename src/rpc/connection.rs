//! Accepting connections, a bounded number of them: in all and of each address.
//!
//! A connection that does not begin to speak in time, or whose handshake takes too long, is closed.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::tls::Tls;
use crate::limit;

/// How long to wait after an accept that failed: mostly too many open files, which time may cure.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// Bytes with which every HTTP/2 connection begins.
const PREFACE_BYTES: usize = 24;

/// A client's connection. Dropping it makes room for another.
pub(super) struct Connection {
    stream: Wire,
    peer: Peer,
    /// Until when the client must have begun, and the bytes that are still to come.
    begin: Option<(Pin<Box<tokio::time::Sleep>>, usize)>,
    _place: Place,
    _permit: OwnedSemaphorePermit,
}

enum Wire {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<TcpStream>>),
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    address: Option<IpAddr>,
    certificate: Option<Arc<CertificateDer<'static>>>,
}

impl Peer {
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The certificate that the client proved to be its own, in DER form.
    pub(super) fn certificate(&self) -> Option<&[u8]> {
        self.certificate.as_ref().map(|certificate| certificate.as_ref().as_ref())
    }
}

/// Connections of each address.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's place among those of its address.
struct Place {
    places: Places,
    address: IpAddr,
}

impl Places {
    /// A place for one more connection of `address`, if there is one.
    fn take(&self, address: IpAddr, max: usize) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(address).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place { places: self.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// The connections of `listener`, encrypted with `tls`. While [`limit::RPC_CONNECTIONS_MAX`] are
/// open, others wait unaccepted; those of an address beyond `per_address` are closed; an accept
/// that fails is tried again.
pub(super) fn connections(
    listener: TcpListener,
    tls: Option<Tls>,
    per_address: usize,
) -> ReceiverStream<io::Result<Connection>> {
    let permits = Arc::new(Semaphore::new(limit::RPC_CONNECTIONS_MAX));
    let places = Places::default();
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Ok(permit) = permits.clone().acquire_owned().await {
            let (stream, address) = tokio::select! {
                () = sender.closed() => return,
                accepted = accept(&listener) => accepted,
            };
            let Some(place) = places.take(address.ip(), per_address) else { continue };
            let (tls, sender) = (tls.clone(), sender.clone());
            // A handshake that takes long must not keep others waiting.
            tokio::spawn(async move {
                if let Some((stream, peer)) = shake_hands(stream, address, tls).await {
                    let begin = Some((deadline(), PREFACE_BYTES));
                    let connection =
                        Connection { stream, peer, begin, _place: place, _permit: permit };
                    // The server stops.
                    drop(sender.send(Ok(connection)).await);
                }
            });
        }
    });
    ReceiverStream::new(receiver)
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            // Without nodelay an answer could wait for the acknowledgement of the one before.
            Ok((stream, address)) if stream.set_nodelay(true).is_ok() => return (stream, address),
            Ok(_) => {}
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
        }
    }
}

fn deadline() -> Pin<Box<tokio::time::Sleep>> {
    Box::pin(tokio::time::sleep(Duration::from_millis(limit::RPC_HANDSHAKE_MS_MAX)))
}

/// The connection, encrypted if it is to be; `None` if the client failed to do its part in time.
async fn shake_hands(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Tls>,
) -> Option<(Wire, Peer)> {
    let mut peer = Peer { address: Some(address.ip()), certificate: None };
    let Some(tls) = tls else { return Some((Wire::Plain(stream), peer)) };
    let handshake = TlsAcceptor::from(tls.config()).accept(stream);
    let limit = Duration::from_millis(limit::RPC_HANDSHAKE_MS_MAX);
    let stream = tokio::time::timeout(limit, handshake).await.ok()?.ok()?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    peer.certificate = shown.map(|certificate| Arc::new(certificate.clone().into_owned()));
    Some((Wire::Encrypted(Box::new(stream)), peer))
}

impl Connection {
    /// Whether the client has begun to speak HTTP/2 in time.
    fn check_begun(&mut self, read: usize, context: &mut Context<'_>) -> io::Result<()> {
        let Some((deadline, missing)) = &mut self.begin else { return Ok(()) };
        *missing = missing.saturating_sub(read);
        if *missing == 0 {
            self.begin = None;
        } else if deadline.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Wire::Encrypted(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        let read = buffer.filled().len() - before;
        self.check_begun(read, context)?;
        polled
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Wire::Encrypted(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(context),
            Wire::Encrypted(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Wire::Encrypted(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Wire::Encrypted(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Wire::Plain(stream) => stream.is_write_vectored(),
            Wire::Encrypted(stream) => stream.is_write_vectored(),
        }
    }
}
