//! Reading a call out of the body of a request.
//!
//! A body without white space is scanned and its `data` is a slice of it; where white space has
//! to go, `data` is a copy. The difference between the two is what slicing saves.

use std::fmt::Write as _;
use std::hint::black_box;

use bindery::http::body;
use bytes::Bytes;
use criterion::{Criterion, Throughput};

/// A request of about `size` bytes, with or without white space between its tokens.
fn request(size: usize, spaced: bool) -> Bytes {
    let gap = if spaced { " " } else { "" };
    let mut text = format!("{{\"operation\":{gap}\"create\",{gap}\"data\":{gap}[");
    let mut number = 0;
    loop {
        let name = "a name";
        let _ = write!(
            text,
            "{{\"id\":{gap}{number},{gap}\"name\":{gap}\"{name}\"}}"
        );
        if text.len() >= size {
            break;
        }
        let _ = write!(text, ",{gap}");
        number += 1;
    }
    let _ = write!(
        text,
        "],{gap}\"metadata\":{gap}{{\"fileName\":{gap}\"1.json\"}}}}"
    );
    text.into()
}

pub fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("body");
    for (name, size) in [("small", 64), ("4 KiB", 4 << 10), ("1 MiB", 1 << 20)] {
        for (kind, spaced) in [("sliced", false), ("with white space, copied", true)] {
            let body = request(size, spaced);
            let read = || body::parse("orders".into(), black_box(&body)).unwrap();
            let is_slice = body.as_ptr_range().contains(&read().data.as_ptr());
            assert_eq!(is_slice, !spaced, "{name} {kind}");
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(format!("{name}, {kind}"), |bencher| bencher.iter(read));
        }
    }
    group.finish();
}
