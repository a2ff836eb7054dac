//! A TCP proxy on loopback that does to connections what networks do to them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bindery_contract::Clock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// What the proxy does to the connections through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: bytes pass.
    #[default]
    None,
    /// New connections are refused, open ones are closed.
    Cut,
    /// Connections stay open and nothing passes.
    Stall,
    /// What the client sends passes, what the server answers does not.
    HalfOpen,
    /// Connections are reset.
    Reset,
    /// Every piece waits this long.
    Slow(Duration),
    /// This many bytes pass in a second, in each direction.
    Limit(u32),
}

/// A running proxy. Dropping it closes everything.
pub struct Proxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    connections: Arc<AtomicU64>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Forwards a free port to `target`.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn to(target: SocketAddr, clock: &Clock) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (fault, faults) = watch::channel(Fault::None);
        let connections = Arc::new(AtomicU64::new(0));
        let accepting = accept(
            listener,
            address,
            target,
            faults,
            Arc::clone(&connections),
            clock.clone(),
        );
        let task = AbortOnDropHandle::new(tokio::spawn(accepting));
        Ok(Self {
            address,
            fault,
            connections,
            _task: task,
        })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Does this to all connections from now on.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// How many connections were made through it.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn accept(
    listener: TcpListener,
    address: SocketAddr,
    target: SocketAddr,
    mut faults: watch::Receiver<Fault>,
    connections: Arc<AtomicU64>,
    clock: Clock,
) {
    let mut listener = Some(listener);
    let mut running = tokio::task::JoinSet::new();
    loop {
        let fault = *faults.borrow_and_update();
        // Nobody listening is what refuses a connection; a listener could only close it.
        if matches!(fault, Fault::Cut | Fault::Reset) {
            listener = None;
        } else if listener.is_none() {
            listener = listen_again(address).ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = faults.changed() => if changed.is_err() { return },
            accepted = accepted => if let Ok((client, _)) = accepted {
                connections.fetch_add(1, Ordering::Relaxed);
                running.spawn(forward(client, target, faults.clone(), clock.clone()));
            },
            Some(_) = running.join_next() => {}
        }
    }
}

fn listen_again(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(128)
}

async fn forward(
    client: TcpStream,
    target: SocketAddr,
    faults: watch::Receiver<Fault>,
    clock: Clock,
) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut ending = faults.clone();
    let ended = ending.wait_for(|fault| matches!(fault, Fault::Cut | Fault::Reset));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = pass(
        &mut from_client,
        &mut to_server,
        faults.clone(),
        true,
        &clock,
    );
    let down = pass(
        &mut from_server,
        &mut to_client,
        faults.clone(),
        false,
        &clock,
    );
    tokio::select! {
        _ = async { tokio::join!(up, down) } => {}
        fault = ended => if fault.is_ok_and(|fault| *fault == Fault::Reset) {
            // Closing with data unread and no linger is what makes a reset.
            if let Ok(client) = from_client.reunite(to_client) {
                let _ = client.set_zero_linger();
            }
        }
    }
}

async fn pass(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut faults: watch::Receiver<Fault>,
    is_request: bool,
    clock: &Clock,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let blocks = |fault: &Fault| match fault {
            Fault::Stall => true,
            Fault::HalfOpen => !is_request,
            _ => false,
        };
        if faults.wait_for(|fault| !blocks(fault)).await.is_err() {
            return;
        }
        let fault = *faults.borrow();
        let room = match fault {
            Fault::Limit(bytes) => (bytes as usize / 10).clamp(1, buffer.len()),
            _ => buffer.len(),
        };
        let length = tokio::select! {
            read = from.read(&mut buffer[..room]) => match read {
                Ok(0) | Err(_) => break,
                Ok(length) => length,
            },
            changed = faults.changed() => if changed.is_err() { return } else { continue },
        };
        if faults.wait_for(|fault| !blocks(fault)).await.is_err() {
            return;
        }
        match fault {
            Fault::Slow(wait) => clock.sleep(wait).await,
            Fault::Limit(_) => clock.sleep(Duration::from_millis(100)).await,
            _ => {}
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        address
    }

    async fn says(stream: &mut TcpStream, clock: &Clock) -> Option<io::Result<u8>> {
        if let Err(error) = stream.write_all(b"x").await {
            return Some(Err(error));
        }
        clock
            .timeout(Duration::from_millis(300), stream.read_u8())
            .await
    }

    #[tokio::test]
    async fn a_proxy_does_what_networks_do() {
        let clock = Clock::system();
        let proxy = Proxy::to(echo().await, &clock).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(says(&mut stream, &clock).await.unwrap().unwrap(), b'x');

        for fault in [Fault::Stall, Fault::HalfOpen] {
            proxy.set(fault);
            assert!(
                says(&mut stream, &clock).await.is_none(),
                "{fault:?} lets nothing back"
            );
            proxy.set(Fault::None);
            assert_eq!(
                stream.read_u8().await.unwrap(),
                b'x',
                "and nothing is lost after it"
            );
        }

        proxy.set(Fault::Reset);
        let error = loop {
            match says(&mut stream, &clock).await {
                Some(Err(error)) => break error,
                _ => clock.sleep(Duration::from_millis(10)).await,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");

        proxy.set(Fault::Cut);
        let refused = loop {
            match TcpStream::connect(proxy.address()).await {
                Err(error) => break error,
                Ok(_) => clock.sleep(Duration::from_millis(10)).await,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

        proxy.set(Fault::None);
        let mut stream = loop {
            match TcpStream::connect(proxy.address()).await {
                Ok(stream) => break stream,
                Err(_) => clock.sleep(Duration::from_millis(10)).await,
            }
        };
        assert_eq!(says(&mut stream, &clock).await.unwrap().unwrap(), b'x');
        assert_eq!(proxy.connections(), 2);
    }
}
