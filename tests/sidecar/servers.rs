//! Servers that turn everybody away, and keep what they hear.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::support::free_port;

/// A server that keeps what it hears.
pub struct Server {
    pub port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    /// Gives `answer` to each piece that it hears.
    pub fn start(answer: fn(&[u8]) -> Vec<u8>) -> Self {
        let port = free_port();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        let heard = Arc::<Mutex<Vec<u8>>>::default();
        let all = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let heard = Arc::clone(&all);
                std::thread::spawn(move || serve(stream, &heard, answer));
            }
        });
        Self { port, heard }
    }

    /// Everything so far.
    pub fn heard(&self) -> Vec<u8> {
        self.heard.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, heard: &Mutex<Vec<u8>>, answer: fn(&[u8]) -> Vec<u8>) {
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        heard.lock().unwrap().extend_from_slice(&buffer[..length]);
        if stream.write_all(&answer(&buffer[..length])).is_err() {
            return;
        }
    }
}

/// Does not know AUTH, and says back what came with it, as old servers do.
pub fn redis(heard: &[u8]) -> Vec<u8> {
    let words = String::from_utf8_lossy(heard).replace("\r\n", " ");
    format!("-ERR unknown command `AUTH`, with args beginning with: `{words}`\r\n").into_bytes()
}

/// Asks for the password in clear, and refuses it.
pub fn postgres(heard: &[u8]) -> Vec<u8> {
    if heard.first() != Some(&b'p') {
        return vec![b'R', 0, 0, 0, 8, 0, 0, 0, 3];
    }
    let fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"app\"\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap();
    [&b"E"[..], &length.to_be_bytes(), fields].concat()
}

/// A broker that takes PLAIN, and refuses who comes with it.
pub fn kafka(heard: &[u8]) -> Vec<u8> {
    let number = |at: usize| u16::from_be_bytes(heard[at..at + 2].try_into().unwrap());
    let body = match (number(4), number(6)) {
        // The versions of each request that it knows; newer questions than the first it does not.
        (18, version) => {
            let known: [[u16; 3]; 6] = [
                [0, 0, 7],
                [1, 0, 4],
                [3, 0, 4],
                [17, 0, 1],
                [18, 0, 0],
                [36, 0, 0],
            ];
            let error: u16 = if version == 0 { 0 } else { 35 };
            let known = known.as_flattened().iter().flat_map(|n| n.to_be_bytes());
            let count = 6u32.to_be_bytes();
            error
                .to_be_bytes()
                .into_iter()
                .chain(count)
                .chain(known)
                .collect()
        }
        (17, _) => b"\0\0\0\0\0\x01\0\x05PLAIN".to_vec(),
        _ => b"\0\x3a\0\x05Wrong\0\0\0\0".to_vec(),
    };
    let length = u32::try_from(body.len() + 4).unwrap();
    [&length.to_be_bytes(), &heard[8..12], &body].concat()
}
