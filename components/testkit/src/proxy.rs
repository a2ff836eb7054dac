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

/// What is done to all connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Orders {
    /// The same to all of them, from now on.
    Same(Fault),
    /// To each, from its own beginning, what [`Script::by_chance`] says with this seed.
    ByChance(u64),
}

/// What happens to one connection, step by step; nothing after the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Each step's fault, and how long it lasts.
    pub steps: Vec<(Fault, Duration)>,
}

impl Script {
    /// Up to four faults with quiet moments in between; every other connection breaks at the end.
    /// The same seed does the same to the same connection, counted from zero.
    pub fn by_chance(seed: u64, connection: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut rng = fastrand::Rng::with_seed(rng.u64(..) ^ connection);
        let mut steps = Vec::new();
        for _ in 0..rng.usize(1..=4) {
            let milliseconds = |range| Duration::from_millis(range);
            steps.push((Fault::None, milliseconds(rng.u64(50..1500))));
            let fault = match rng.u8(0..4) {
                0 => Fault::Stall,
                1 => Fault::HalfOpen,
                2 => Fault::Slow(milliseconds(rng.u64(1..50))),
                _ => Fault::Limit(rng.u32(2_000..200_000)),
            };
            steps.push((fault, milliseconds(rng.u64(50..1000))));
        }
        if rng.bool() {
            let end = [Fault::Cut, Fault::Reset][rng.usize(0..2)];
            steps.push((end, Duration::MAX));
        }
        Self { steps }
    }
}

/// A running proxy. Dropping it closes everything.
pub struct Proxy {
    address: SocketAddr,
    orders: watch::Sender<Orders>,
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
        let (orders, given) = watch::channel(Orders::Same(Fault::None));
        let connections = Arc::new(AtomicU64::new(0));
        let accepting = accept(
            listener,
            address,
            target,
            given,
            Arc::clone(&connections),
            clock.clone(),
        );
        let task = AbortOnDropHandle::new(tokio::spawn(accepting));
        Ok(Self {
            address,
            orders,
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
        self.orders.send_replace(Orders::Same(fault));
    }

    /// From now on does something of its own to each connection, also to those that are open:
    /// what [`Script::by_chance`] says. New ones are always taken.
    pub fn set_by_chance(&self, seed: u64) {
        self.orders.send_replace(Orders::ByChance(seed));
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
    mut orders: watch::Receiver<Orders>,
    connections: Arc<AtomicU64>,
    clock: Clock,
) {
    let mut listener = Some(listener);
    let mut running = tokio::task::JoinSet::new();
    loop {
        let current = *orders.borrow_and_update();
        // Nobody listening is what refuses a connection; a listener could only close it.
        if matches!(current, Orders::Same(Fault::Cut | Fault::Reset)) {
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
            changed = orders.changed() => if changed.is_err() { return },
            accepted = accepted => if let Ok((client, _)) = accepted {
                let number = connections.fetch_add(1, Ordering::Relaxed);
                let (fault, faults) = watch::channel(Fault::None);
                let playing = play(number, orders.clone(), fault, clock.clone());
                let forwarding = forward(client, target, faults, clock.clone());
                running.spawn(async move {
                    tokio::select! {
                        () = playing => {}
                        () = forwarding => {}
                    }
                });
            },
            Some(_) = running.join_next() => {}
        }
    }
}

/// Turns the orders into what is to be done to one connection now. Ends with the proxy.
async fn play(
    number: u64,
    mut orders: watch::Receiver<Orders>,
    fault: watch::Sender<Fault>,
    clock: Clock,
) {
    loop {
        let script = match *orders.borrow_and_update() {
            Orders::Same(fault) => Script {
                steps: vec![(fault, Duration::MAX)],
            },
            Orders::ByChance(seed) => Script::by_chance(seed, number),
        };
        let acting = async {
            for (step, long) in script.steps {
                fault.send_replace(step);
                if long == Duration::MAX {
                    return std::future::pending().await;
                }
                clock.sleep(long).await;
            }
            fault.send_replace(Fault::None);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = acting => {}
            changed = orders.changed() => if changed.is_err() { return },
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

    #[test]
    fn chance_is_made_of_a_seed() {
        let scripts = |seed| (0..50).map(move |number| Script::by_chance(seed, number));
        assert!(scripts(7).eq(scripts(7)));
        assert!(!scripts(7).eq(scripts(8)));
        let faults: Vec<Fault> = scripts(7)
            .flat_map(|script| script.steps)
            .map(|(fault, _)| fault)
            .collect();
        for fault in [Fault::Stall, Fault::HalfOpen, Fault::Cut, Fault::Reset] {
            assert!(faults.contains(&fault), "{fault:?}");
        }
    }

    #[tokio::test]
    async fn each_connection_has_a_script_of_its_own() {
        let clock = Clock::system();
        let proxy = Proxy::to(echo().await, &clock).await.unwrap();
        let breaks = |number: &u64| {
            let script = Script::by_chance(7, *number);
            let last = script.steps.last().map(|(fault, _)| *fault);
            matches!(last, Some(Fault::Cut | Fault::Reset))
        };
        proxy.set_by_chance(7);
        let mut streams = Vec::new();
        for _ in 0..6 {
            streams.push(TcpStream::connect(proxy.address()).await.unwrap());
        }
        let until_broken = async |(number, mut stream): (u64, TcpStream)| {
            let script = Script::by_chance(7, number);
            let steps = script.steps.iter().map(|(_, long)| *long);
            let over: Duration = steps.filter(|long| *long < Duration::MAX).sum();
            let ended = clock.timeout(over + Duration::from_secs(1), async {
                while stream.write_all(b"x").await.is_ok() {
                    clock.sleep(Duration::from_millis(50)).await;
                }
            });
            ended.await.map(|()| number)
        };
        let streams = (0u64..).zip(streams);
        let ended = futures_util::future::join_all(streams.map(until_broken)).await;
        let broken: Vec<u64> = ended.into_iter().flatten().collect();
        let expected: Vec<u64> = (0..6).filter(breaks).collect();
        assert_eq!(broken, expected);
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
