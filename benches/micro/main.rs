//! Micro benches: what one step of the way costs, without a socket.
//!
//! They are for whoever changes such a step, and say nothing of the whole; the load test in
//! `load/` does.

mod bed;
mod body;
mod delivery;
mod lane;
mod routing;
mod settings;

use criterion::{criterion_group, criterion_main};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(
    benches,
    settings::decode,
    body::parse,
    lane::push_and_take,
    routing::invoke,
    delivery::deliver,
);
criterion_main!(benches);
