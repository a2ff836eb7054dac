//! A loop written by hand that posts events to an app.

use std::io;

use actix_rt::Arbiter;
use http::header::HeaderValue;
use tokio::sync::mpsc;

use super::plain::Target;
use super::{KEYS, Order, Orders, done, workers};

/// A task for each key, on as many threads as Bindery's, each with a pool of connections.
pub(super) async fn post(to: u16) -> io::Result<()> {
    let threads = (0..workers()).map(|_| Ok((Arbiter::new(), Target::new(to, "/log")?)));
    let threads: Vec<_> = threads.collect::<io::Result<_>>()?;
    let mut orders = Orders::new();
    println!("0");
    while let Some(order) = orders.next().await {
        let (tell, mut outcomes) = mpsc::unbounded_channel();
        for key in 0..KEYS {
            let (thread, target) = &threads[key % threads.len()];
            let (target, tell) = (target.clone(), tell.clone());
            thread.spawn(async move {
                let _ = tell.send(post_all(&target, order, key).await);
            });
        }
        drop(tell);
        while let Some(outcome) = outcomes.recv().await {
            outcome?;
        }
        done();
    }
    Ok(())
}

/// Posts the events of one key, one after the other.
async fn post_all(target: &Target, order: Order, key: usize) -> io::Result<()> {
    let data = order.data();
    for _ in 0..order.of_key(key) {
        let key = HeaderValue::from(key);
        target.post(data.clone(), Some(("partition", key))).await?;
    }
    Ok(())
}
