//! A lane with its credit: what handing an event to a delivery thread costs.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bindery_actors::lane::Lane;
use bindery_contract::credit::{Credit, Credited};
use criterion::{Criterion, Throughput};

const SLOTS: usize = 256;

struct Way {
    lane: Lane<(u64, Credited)>,
    credit: Arc<Credit>,
}

impl Way {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lane: Lane::new(SLOTS),
            credit: Credit::new(SLOTS),
        })
    }
}

pub fn push_and_take(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lane");
    group.throughput(Throughput::Elements(1));

    let way = Way::new();
    let mut taken = Vec::new();
    group.bench_function("one thread", |bencher| {
        bencher.iter(|| {
            let slot = way.credit.try_take().unwrap();
            way.lane.push((1, slot));
            let mut cx = Context::from_waker(Waker::noop());
            assert_eq!(way.lane.poll_take(&mut cx, &mut taken), Poll::Ready(()));
            taken.clear();
        });
    });

    let way = Way::new();
    let (orders, wanted) = mpsc::channel::<u64>();
    let producer = std::thread::spawn({
        let way = Arc::clone(&way);
        move || {
            for count in wanted {
                runtime().block_on(async {
                    for event in 0..count {
                        let slot = way.credit.take().await;
                        way.lane.push((event, slot));
                    }
                });
            }
        }
    });
    let consumer = runtime();
    group.bench_function("two threads", |bencher| {
        bencher.iter_custom(|count| {
            let started = Instant::now();
            orders.send(count).unwrap();
            consumer.block_on(take(&way.lane, count));
            started.elapsed()
        });
    });
    drop(orders);
    producer.join().unwrap();
    group.finish();
}

async fn take(lane: &Lane<(u64, Credited)>, count: u64) {
    let mut taken = Vec::new();
    let mut so_far = 0;
    while so_far < count {
        poll_fn(|cx| lane.poll_take(cx, &mut taken)).await;
        so_far += taken.drain(..).count() as u64;
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
}
