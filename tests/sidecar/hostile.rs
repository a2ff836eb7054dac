//! What comes to the ports and is no client: it gets a clear answer or is hung up on, costs neither
//! memory nor descriptors, and disturbs nobody.

use std::io::{ErrorKind, Read as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use bindery::grpc::proto::runtime::v1::InvokeBindingRequest;
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::{Code, Status};

use crate::support::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GO_AWAY, HEADERS, PING, PREFACE, RST_STREAM, Raw,
    SETTINGS, WINDOW_UPDATE, block, frame, post,
};
use crate::support::{Running, request, resources, wait_for};

const INVOKE: &str = "/dapr.proto.runtime.v1.Dapr/InvokeBinding";
const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc"), ("te", "trailers")];
/// How much memory may have come in between, in MiB: allocators keep some of what was freed.
const ROOM: u64 = 48;
/// How long somebody who is let go after ten or fifteen seconds may be there all the same.
const PATIENCE: Duration = Duration::from_secs(60);

/// A sidecar with an output that lists a folder.
fn start() -> (Running, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let settings = [("rootPath", root.to_str().unwrap())];
    let files = ("files", "bindings.localstorage", &settings[..]);
    let bindery = Running::sidecar(&resources(folder.path(), &[files]), &[]);
    bindery.wait_until_ready();
    serves(&bindery);
    (bindery, folder)
}

fn listing() -> InvokeBindingRequest {
    InvokeBindingRequest {
        name: "files".into(),
        operation: "list".into(),
        ..InvokeBindingRequest::default()
    }
}

/// Others are served, over both protocols.
fn serves(bindery: &Running) {
    let answer = bindery.invoke("files", r#"{"operation":"list"}"#);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = call(bindery, &[], listing().encode_to_vec());
    assert_eq!(answer.code(), Code::Ok, "{answer}");
}

/// A message of gRPC, whatever is in it.
fn framed(message: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[0], &length[..], &message].concat()
}

/// Calls the output with a message.
fn call(bindery: &Running, headers: &[(&str, &str)], message: Vec<u8>) -> Status {
    call_with_body(bindery, headers, framed(message))
}

/// Calls the output with any bytes for a body.
fn call_with_body(bindery: &Running, headers: &[(&str, &str)], body: Vec<u8>) -> Status {
    let uri = format!("http://127.0.0.1:{}{INVOKE}", bindery.grpc_port);
    let mut request = http::Request::post(uri);
    for (name, value) in GRPC.iter().chain(headers) {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::<bytes::Bytes>::from(body)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let executor = hyper_util::rt::TokioExecutor::new();
        let client = hyper_util::client::legacy::Client::builder(executor)
            .http2_only(true)
            .build_http();
        let (head, body) = client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap();
        let trailers = body.trailers().and_then(Status::from_header_map);
        let status = trailers.or_else(|| Status::from_header_map(&head.headers));
        status.expect("a status")
    })
}

/// What a process holds.
#[derive(Debug)]
struct Holds {
    mebibytes: u64,
    descriptors: usize,
}

impl Holds {
    fn now(bindery: &Running) -> Self {
        let folder = format!("/proc/{}", bindery.id());
        let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        Self {
            mebibytes: kibibytes.unwrap() >> 10,
            descriptors: std::fs::read_dir(format!("{folder}/fd")).unwrap().count(),
        }
    }

    /// Waits until it holds as much as before.
    fn wait_until_back(self, bindery: &Running) {
        let is_back = || {
            let now = Self::now(bindery);
            now.descriptors <= self.descriptors + 4 && now.mebibytes <= self.mebibytes + ROOM
        };
        wait_for(&format!("what it held before, {self:?}"), PATIENCE, is_back);
    }
}

/// Reads to the end of a connection.
fn wait_for_the_end(mut raw: Raw) {
    let mut rest = Vec::new();
    if let Err(error) = raw.0.read_to_end(&mut rest) {
        let is_patience = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        assert!(!is_patience, "it is still there");
    }
}

#[test]
fn whoever_dribbles_its_beginning_is_let_go_as_one_who_says_nothing() {
    let (bindery, _folder) = start();
    let before = Holds::now(&bindery);
    let head = format!("GET /v1.0/healthz HTTP/1.1\r\nx: {}\r\n", "y".repeat(300));
    let settings = [PREFACE, &frame(SETTINGS, 0, 0, &[0; 600])].concat();
    let dribbles = [
        (bindery.http_port, head.into_bytes()),
        (bindery.http_port, settings.clone()),
        (bindery.grpc_port, settings),
    ];
    let dribbling = dribbles.map(|(port, bytes)| {
        thread::spawn(move || {
            let mut raw = Raw::silent(port);
            let began = Instant::now();
            for byte in bytes {
                // Slow enough that all of it would take minutes.
                thread::sleep(Duration::from_millis(400));
                if raw.0.write_all(&[byte]).is_err() {
                    return;
                }
                assert!(began.elapsed() < PATIENCE, "nobody minds");
            }
        })
    });
    thread::sleep(Duration::from_secs(1));
    serves(&bindery);
    for one in dribbling {
        one.join().unwrap();
    }
    before.wait_until_back(&bindery);
}

#[test]
fn a_client_of_grpc_that_falls_silent_is_let_go() {
    let (bindery, _folder) = start();
    let before = Holds::now(&bindery);
    let silent: [&[u8]; 4] = [
        b"",
        // A head without its end, a frame of which only the head comes, a call without its message.
        &frame(HEADERS, 0, 1, &post(INVOKE, GRPC)),
        &frame(DATA, 0, 1, &[0; 100])[..20],
        &frame(HEADERS, END_HEADERS, 1, &post(INVOKE, GRPC)),
    ];
    let clients = silent.map(|bytes| {
        let mut raw = Raw::begun(bindery.grpc_port);
        raw.send(bytes);
        raw
    });
    serves(&bindery);
    clients.into_iter().for_each(wait_for_the_end);
    before.wait_until_back(&bindery);
}

/// A machine that lost its power says nothing, and its connections would stay for ever.
#[test]
fn the_system_asks_whether_a_silent_caller_is_still_there() {
    let (bindery, _folder) = start();
    let table = || std::fs::read_to_string(format!("/proc/{}/net/tcp", bindery.id())).unwrap();
    for port in [bindery.http_port, bindery.grpc_port] {
        let _idle = Raw::silent(port);
        // Columns of the table: where, to whom, state (1 is open), queues, timer (2 is this one).
        let is_asked = || {
            table().lines().any(|line| {
                let columns: Vec<&str> = line.split_whitespace().collect();
                columns[1].ends_with(&format!(":{port:04X}"))
                    && columns[3] == "01"
                    && columns[5].starts_with("02:")
            })
        };
        wait_for("the timer", PATIENCE, is_asked);
    }
}

#[test]
fn frames_that_nobody_may_send_end_their_connection_with_a_reason() {
    let (bindery, _folder) = start();
    let before = Holds::now(&bindery);
    let call = frame(HEADERS, END_HEADERS, 1, &post(INVOKE, GRPC));
    let longer = |mut frame: Vec<u8>| {
        frame[..3].copy_from_slice(&[0xff; 3]);
        frame
    };
    let wrong: [(&str, Vec<u8>); 14] = [
        ("settings of an odd length", frame(SETTINGS, 0, 0, &[0; 5])),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[])),
        (
            "a window that is too large",
            frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff]),
        ),
        ("a short ping", frame(PING, 0, 0, &[0; 7])),
        ("a ping of a stream", frame(PING, 0, 1, &[0; 8])),
        ("data of no stream", frame(DATA, 0, 0, b"x")),
        ("data of a stream that is not open", frame(DATA, 0, 5, b"x")),
        (
            "a stream of the server's",
            frame(HEADERS, END_HEADERS, 2, &post(INVOKE, GRPC)),
        ),
        (
            "what does not follow headers",
            frame(CONTINUATION, END_HEADERS, 1, b"x"),
        ),
        (
            "something between headers",
            [
                frame(HEADERS, 0, 1, &post(INVOKE, GRPC)),
                frame(PING, 0, 0, &[0; 8]),
            ]
            .concat(),
        ),
        (
            "headers that are none",
            frame(HEADERS, END_HEADERS, 1, &[0xff; 40]),
        ),
        ("a window of nothing", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        (
            "a window without end",
            [
                call.clone(),
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat(),
        ),
        ("a frame of 16 MiB", longer(frame(DATA, 0, 1, &[0; 9]))),
    ];
    for port in [bindery.grpc_port, bindery.http_port] {
        for (what, bytes) in &wrong {
            let mut raw = Raw::begun(port);
            raw.send(bytes);
            // Some say why only when they are spoken to again.
            raw.send(&frame(PING, 0, 0, &[0; 8]));
            let reason = raw.end();
            assert!(reason != Some(0), "{what} on {port}: {reason:?}");
        }
    }
    serves(&bindery);
    before.wait_until_back(&bindery);
}

#[test]
fn frames_of_a_kind_that_nobody_knows_are_passed_over() {
    let (bindery, _folder) = start();
    for port in [bindery.grpc_port, bindery.http_port] {
        let mut raw = Raw::begun(port);
        for kind in [0x0b, 0x7f, 0xff] {
            raw.send(&frame(kind, 0xff, 0, &[0x55; 1000]));
        }
        // A setting of an unknown name, and a priority, which nobody heeds any more.
        raw.send(&frame(SETTINGS, 0, 0, &[0xff, 0xfe, 1, 2, 3, 4]));
        raw.send(&frame(2, 0, 3, &[0; 5]));
        assert!(raw.answers());
    }
}

/// Sends the same again and again, and reads nothing that is answered, until the connection is
/// ended, stalls, or has had enough.
fn flood(port: u16, next: &dyn Fn(u32) -> Vec<u8>) {
    const BYTES: usize = 8 << 20;
    let mut raw = Raw::begun(port);
    let short = Some(Duration::from_millis(500));
    raw.0.set_write_timeout(short).unwrap();
    let (mut sent, mut round) = (0, 0);
    while sent < BYTES {
        let mut batch = Vec::new();
        while batch.len() < 16 << 10 {
            batch.extend(next(round));
            round += 1;
        }
        if !raw.send(&batch) {
            break;
        }
        sent += batch.len();
    }
}

#[test]
fn floods_take_neither_memory_nor_time_of_others() {
    type Next<'a> = &'a (dyn Fn(u32) -> Vec<u8> + Sync);
    let (bindery, _folder) = start();
    let before = Holds::now(&bindery);
    let call = post(INVOKE, GRPC);
    let open = |round: u32, flags: u8, block: &[u8]| frame(HEADERS, flags, 2 * round + 1, block);
    let reset = |round: u32| frame(RST_STREAM, 0, 2 * round + 1, &[0, 0, 0, 8]);
    // After the first of all, a head goes on and on.
    let goes_on = |round: u32, more: &[u8]| match round {
        0 => frame(HEADERS, 0, 1, &call),
        _ => frame(CONTINUATION, 0, 1, more),
    };
    let field = block(&[("x", &*"x".repeat(3000))]);
    // One field is put into the table, and named a thousand times in every head.
    let mut bomb = call.clone();
    bomb.push(0x40);
    bomb.extend(&field[1..]);
    bomb.extend([0xbe; 8000]);
    let floods: [(&str, Next<'_>); 10] = [
        ("settings", &|_| {
            frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])
        }),
        ("pings", &|_| frame(PING, 0, 0, &[7; 8])),
        ("windows", &|_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("resets", &|round| {
            [open(round, END_HEADERS, &call), reset(round)].concat()
        }),
        ("calls without an end", &|round| {
            open(round, END_HEADERS, &call)
        }),
        ("calls", &|round| {
            open(round, END_HEADERS | END_STREAM, &call)
        }),
        ("a head of nothing", &|round| goes_on(round, &[])),
        ("a head without end", &|round| goes_on(round, &field)),
        ("heads from the table", &|round| {
            open(round, END_HEADERS, &bomb)
        }),
        ("data for nobody", &|_| frame(DATA, 0, 1, &[0; 1000])),
    ];
    for port in [bindery.grpc_port, bindery.http_port] {
        for (what, next) in floods {
            let most = thread::scope(|scope| {
                let flood = scope.spawn(|| flood(port, next));
                let mut most = 0;
                loop {
                    serves(&bindery);
                    most = most.max(Holds::now(&bindery).mebibytes);
                    if flood.is_finished() {
                        return most;
                    }
                }
            });
            assert!(most < before.mebibytes + 2 * ROOM, "{what}: {most} MiB");
        }
    }
    before.wait_until_back(&bindery);
}

#[test]
fn a_message_that_is_none_is_refused_in_so_many_words() {
    let (bindery, _folder) = start();
    let good = listing().encode_to_vec();
    // Field 1 is the name, field 3 the metadata.
    for (what, message) in [
        ("a number in place of the name", vec![0x08, 7]),
        ("a name that ends too early", vec![0x0a, 200, b'x']),
        ("a name that is not UTF-8", vec![0x0a, 1, 0xff]),
        ("a length without end", [&[0x0a][..], &[0xff; 11]].concat()),
        ("field 0", vec![0x02, 0]),
        ("a group without its end", vec![0x0b, 0x0b, 0x0b]),
        ("metadata that is none", vec![0x1a, 2, 0x0a, 9]),
        ("something behind it", [&good[..], &[0xff]].concat()),
    ] {
        let status = call(&bindery, &[], message);
        assert_eq!(status.code(), Code::Internal, "{what}: {status}");
        assert!(
            status
                .message()
                .contains("failed to decode Protobuf message"),
            "{what}: {status}"
        );
    }
    // Fields of a newer version are not looked at.
    let newer = [&good[..], &[0xfa, 0x3f, 1, b'x']].concat();
    assert_eq!(call(&bindery, &[], newer).code(), Code::Ok);
}

#[test]
fn a_message_that_lies_about_its_length_is_refused() {
    let (bindery, _folder) = start();
    let before = Holds::now(&bindery);
    for (what, body, code) in [
        ("nothing at all", vec![], Code::Internal),
        ("half a prefix", vec![0, 0, 0], Code::Internal),
        (
            "4 GiB",
            [&[0][..], &[0xff; 4], b"x"].concat(),
            Code::ResourceExhausted,
        ),
        ("more than comes", vec![0, 0, 0, 0, 9, b'x'], Code::Internal),
        (
            "a compression that nobody agreed on",
            vec![1, 0, 0, 0, 1, b'x'],
            Code::Internal,
        ),
        (
            "a flag that there is not",
            vec![9, 0, 0, 0, 1, b'x'],
            Code::Internal,
        ),
        (
            "a second message",
            framed(listing().encode_to_vec()).repeat(2),
            Code::Ok,
        ),
    ] {
        let status = call_with_body(&bindery, &[], body);
        assert_eq!(status.code(), code, "{what}: {status}");
        assert!(code == Code::Ok || !status.message().is_empty(), "{what}");
    }
    let compressed = call(
        &bindery,
        &[("grpc-encoding", "gzip")],
        listing().encode_to_vec(),
    );
    assert_eq!(compressed.code(), Code::Unimplemented, "{compressed}");
    serves(&bindery);
    before.wait_until_back(&bindery);
}

#[test]
fn trace_headers_that_are_none_do_no_harm_and_bad_baggage_is_refused() {
    let (bindery, _folder) = start();
    let list = br#"{"operation":"list"}"#;
    let post = |header: (&str, &str)| {
        let path = "/v1.0/bindings/files";
        request(bindery.http_port, "POST", path, &[header], list).unwrap()
    };
    let grpc = |header: (&str, &str)| call(&bindery, &[header], listing().encode_to_vec());
    let zero = "00-00000000000000000000000000000000-0000000000000000-01";
    let long = format!("00-{}-00f067aa0ba902b7-01", "4".repeat(4000));
    for header in [
        ("traceparent", "nonsense"),
        ("traceparent", zero),
        ("traceparent", &long),
        ("traceparent", "\u{e9}"),
        ("tracestate", ",=,="),
        ("grpc-trace-bin", "!!!"),
        ("grpc-trace-bin", "AAAA"),
        ("grpc-timeout", "soon"),
        ("grpc-timeout", "99999999999S"),
    ] {
        assert_eq!(grpc(header).code(), Code::Ok, "{header:?}");
        let answer = post(header);
        assert_eq!(answer.status, 200, "{header:?}");
        let own = answer.header("traceparent").unwrap();
        assert!(own.starts_with("00-") && own.len() == 55, "{own}");
        assert!(!own.contains("0000000000000000"), "{own}");
    }
    let many = vec!["a=1"; 181].join(",");
    for baggage in ["a b", "a", "=1", "a=1,,b=2", "a=\"", "\u{e9}=1", &many] {
        let header = ("baggage", baggage);
        let answer = post(header);
        let start = "invalid baggage header: ";
        assert_eq!(answer.status, 400, "{baggage}");
        assert!(answer.text().starts_with(start), "{}", answer.text());
        let status = grpc(header);
        assert_eq!(status.code(), Code::InvalidArgument, "{baggage}");
        assert!(status.message().starts_with(start), "{status}");
    }
}

#[test]
fn a_crowd_of_idle_grpc_connections_is_told_goodbye_and_calls_beside_it_succeed() {
    const MANY: usize = 1000;
    let (bindery, _folder) = start();
    let mut crowd: Vec<Raw> = (0..MANY + 200)
        .map(|_| Raw::begun(bindery.grpc_port))
        .collect();
    serves(&bindery);
    // Those that came first have been idle for longest.
    for raw in &mut crowd[..50] {
        let goodbye = std::iter::from_fn(|| raw.next()).find(|frame| frame.0 == GO_AWAY);
        let (_, _, _, payload) = goodbye.expect("a word before the end");
        assert_eq!(payload[4..8], [0; 4], "it is no error");
    }
    serves(&bindery);
    let descriptors = || Holds::now(&bindery).descriptors;
    wait_for("the crowd to be smaller", PATIENCE, || {
        descriptors() < MANY + 100
    });
    drop(crowd);
    wait_for("all of it to go", PATIENCE, || descriptors() < 100);
}

#[test]
fn one_connection_of_http_2_has_no_more_than_a_thousand_requests_at_once() {
    let (bindery, _folder) = start();
    let before = Holds::now(&bindery);
    let headers = post("/v1.0/bindings/files", &[("content-length", "9")]);
    let mut raw = Raw::begun(bindery.http_port);
    // They all wait for a body that does not come.
    for round in 0..1100 {
        raw.send(&frame(HEADERS, END_HEADERS, 2 * round + 1, &headers));
    }
    let mut refused = 0;
    while refused < 100 {
        let (kind, _, _, _) = raw.next().expect("it is still there");
        refused += usize::from(kind == HEADERS);
    }
    assert!(raw.answers());
    serves(&bindery);
    drop(raw);
    before.wait_until_back(&bindery);
}
