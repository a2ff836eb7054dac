//! The app of the suite: writes everything down before it answers, and misbehaves as it is told.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::dev::ServerHandle;
use actix_web::{HttpRequest, HttpResponse, HttpServer, web};
use bindery_testkit::ports;

use crate::ledger::{Event, Ledger};
use crate::source::READING;

/// How it behaves.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// How many of a hundred events it refuses.
    pub refuses: u8,
    /// How long it takes for one, on average.
    pub takes: Duration,
    /// Whether it answers at all.
    pub hangs: bool,
    /// The event that it refuses for good.
    pub poison: Option<Event>,
}

/// A running app. Stopped when it is dropped.
pub struct App {
    /// Where it listens.
    pub port: u16,
    /// What it has been given.
    pub ledger: Arc<Ledger>,
    desk: Arc<Desk>,
    serving: Option<(ServerHandle, JoinHandle<()>)>,
}

struct Desk {
    ledger: Arc<Ledger>,
    manner: Mutex<Manner>,
    rng: Mutex<fastrand::Rng>,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    last_begun: Mutex<Option<Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl App {
    /// An app with this ledger, on a port of its own.
    pub fn start(ledger: Ledger, manner: Manner, seed: u64) -> Self {
        let ledger = Arc::new(ledger);
        let desk = Arc::new(Desk {
            ledger: Arc::clone(&ledger),
            manner: Mutex::new(manner),
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            in_flight: AtomicUsize::new(0),
            most_in_flight: AtomicUsize::new(0),
            last_begun: Mutex::new(None),
        });
        let mut app = Self {
            port: ports::free(),
            ledger,
            desk,
            serving: None,
        };
        app.up();
        app
    }

    /// Listens, at the same port as before.
    pub fn up(&mut self) {
        let (desk, port) = (Arc::clone(&self.desk), self.port);
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let desk = web::Data::from(desk);
            let served = actix_rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    actix_web::App::new()
                        .app_data(desk.clone())
                        .route("/dapr/config", web::get().to(HttpResponse::NotFound))
                        .route("/{input}", web::post().to(take))
                        .route("/{input}", web::method(http_options()).to(HttpResponse::Ok))
                });
                let server = server
                    .workers(1)
                    .disable_signals()
                    .bind(("127.0.0.1", port))?;
                let server = server.run();
                // Nobody waits for it any more when this fails.
                let _ = tell.send(server.handle());
                server.await
            });
            served.unwrap_or_else(|error| panic!("the app at {port}: {error}"));
        });
        let handle = told.recv().expect("the port was free a moment ago");
        self.serving = Some((handle, thread));
    }

    /// Is gone, with all its connections.
    pub fn down(&mut self) {
        if let Some((handle, thread)) = self.serving.take() {
            // Sent when it is called; the future only waits.
            drop(handle.stop(false));
            let _ = thread.join();
        }
    }

    /// Behaves like this from now on.
    pub fn set(&self, change: impl FnOnce(&mut Manner)) {
        change(&mut lock(&self.desk.manner));
    }

    /// Whether it is at work with nothing.
    pub fn is_idle(&self) -> bool {
        self.desk.in_flight.load(Ordering::Relaxed) == 0
    }

    /// How many events it has had at once, at most, since this was asked last.
    pub fn most_in_flight(&self) -> usize {
        self.desk.most_in_flight.swap(0, Ordering::Relaxed)
    }

    /// When it was given an event for the last time.
    pub fn last_begun(&self) -> Option<Instant> {
        *lock(&self.desk.last_begun)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.down();
    }
}

fn http_options() -> actix_web::http::Method {
    actix_web::http::Method::OPTIONS
}

/// Counts an event while the app has it.
struct Here<'a>(&'a Desk);

impl<'a> Here<'a> {
    fn begin(desk: &'a Desk) -> Self {
        let now = desk.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        desk.most_in_flight.fetch_max(now, Ordering::Relaxed);
        *lock(&desk.last_begun) = Some(Instant::now());
        Self(desk)
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn take(desk: web::Data<Desk>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let _here = Here::begin(&desk);
    let text = std::str::from_utf8(&body).unwrap_or_default();
    // The Kafka input gives text as JSON does.
    let Some(event) = Event::of(text.trim_matches('"')) else {
        desk.ledger.record_corrupt();
        return HttpResponse::BadRequest().finish();
    };
    while lock(&desk.manner).hangs {
        actix_rt::time::sleep(Duration::from_millis(10)).await;
    }
    let manner = lock(&desk.manner).clone();
    let (wait, chance) = {
        let mut rng = lock(&desk.rng);
        (manner.takes.mul_f64(2.0 * rng.f64()), rng.u8(0..100))
    };
    if !wait.is_zero() {
        actix_rt::time::sleep(wait).await;
    }
    let taken = chance >= manner.refuses && manner.poison.as_ref() != Some(&event);
    let reading = request.headers().get(READING);
    let reading = reading.and_then(|value| value.to_str().ok()?.parse().ok());
    desk.ledger.record(event, reading, taken);
    if taken {
        HttpResponse::Ok().finish()
    } else {
        HttpResponse::InternalServerError().finish()
    }
}
