//! When tokens are asked for, and what is shown in between: seen by a provider that does as it is
//! told, with the clock in hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bindery_contract::{Cause, Clock, ContextParts, Host, OpenContext, OpenError};
use bindery_identity::{Provider, Token, Tokens};
use bindery_testkit::context::parts;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Gives a number for an hour, as long as it gives something.
#[derive(Clone, Default)]
struct Counter {
    asked: Arc<AtomicUsize>,
    fails: Arc<Mutex<Option<&'static str>>>,
    takes: Duration,
}

impl Counter {
    fn fail(&self, error: impl Into<Option<&'static str>>) {
        *self.fails.lock().unwrap() = error.into();
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Provider for Counter {
    type Pass = usize;

    async fn fetch(&self, clock: &Clock) -> Result<Token<usize>, OpenError> {
        let pass = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        clock.sleep(self.takes).await;
        match *self.fails.lock().unwrap() {
            Some(error) => Err(OpenError::refused(error)),
            None => Ok(Token {
                pass,
                lifetime: HOUR,
            }),
        }
    }
}

struct Ear(Mutex<Vec<String>>);

impl Host for Ear {
    fn degraded(&self, cause: Cause) {
        self.disconnected(cause);
    }

    fn recovered(&self) {}

    fn disconnected(&self, cause: Cause) {
        self.0.lock().unwrap().push(cause.to_string());
    }

    fn crashed(&self, panic: String) {
        self.0.lock().unwrap().push(panic);
    }
}

fn context() -> (OpenContext, Arc<Ear>) {
    let ear = Arc::new(Ear(Mutex::default()));
    let cx = OpenContext::new(ContextParts {
        clock: Clock::paused(SystemTime::UNIX_EPOCH),
        ..parts(ear.clone())
    });
    (cx, ear)
}

fn tokens(counter: &Counter) -> (Tokens<Counter>, Clock) {
    let (cx, _) = context();
    (Tokens::new(counter.clone(), &cx), cx.clock().clone())
}

#[tokio::test(start_paused = true)]
async fn all_who_need_a_token_share_one() {
    let counter = Counter {
        takes: Duration::from_secs(2),
        ..Counter::default()
    };
    let (tokens, clock) = tokens(&counter);
    assert_eq!(counter.asked(), 0, "nobody needs one");
    let shown = tokio::join!(tokens.now(), tokens.now(), tokens.now());
    assert_eq!(
        (shown.0.unwrap(), shown.1.unwrap(), shown.2.unwrap()),
        (1, 1, 1)
    );
    clock.sleep(30 * MINUTE).await;
    assert_eq!(tokens.now().await.unwrap(), 1);
    assert_eq!(counter.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_replaced_when_one_is_needed_shortly_before_its_end() {
    let counter = Counter::default();
    let (tokens, clock) = tokens(&counter);
    tokens.now().await.unwrap();
    clock.sleep(54 * MINUTE).await;
    assert_eq!(tokens.now().await.unwrap(), 1);
    clock.sleep(MINUTE).await;
    assert_eq!(tokens.now().await.unwrap(), 2);
    clock.sleep(10 * HOUR).await;
    assert_eq!(counter.asked(), 2, "nobody needs one");
    assert_eq!(tokens.now().await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_cannot_be_replaced_is_shown_until_it_ends() {
    let counter = Counter::default();
    let (tokens, clock) = tokens(&counter);
    tokens.now().await.unwrap();
    counter.fail("no more");
    clock.sleep(56 * MINUTE).await;
    assert_eq!(tokens.now().await.unwrap(), 1);
    assert_eq!(tokens.now().await.unwrap(), 1);
    assert_eq!(counter.asked(), 2, "it is not asked again at once");
    clock.sleep(MINUTE).await;
    assert_eq!(tokens.now().await.unwrap(), 1);
    assert_eq!(counter.asked(), 3, "but a little later");
    clock.sleep(Duration::from_millis(179_500)).await;
    assert_eq!(tokens.now().await.unwrap(), 1);
    clock.sleep(Duration::from_millis(500)).await;
    let error = tokens.now().await.unwrap_err();
    assert!(matches!(&error, OpenError::Refused(_)), "{error:?}");
    assert_eq!(error.to_string(), "no more");
    counter.fail(None);
    clock.sleep(Duration::from_secs(1)).await;
    assert_eq!(tokens.now().await.unwrap(), counter.asked());
}

#[tokio::test(start_paused = true)]
async fn who_asks_right_after_a_refusal_gets_the_same_one() {
    let counter = Counter::default();
    let (tokens, clock) = tokens(&counter);
    counter.fail("no");
    for _ in 0..3 {
        let error = tokens.now().await.unwrap_err();
        assert!(matches!(&error, OpenError::Refused(_)), "{error:?}");
        assert_eq!(error.to_string(), "no");
    }
    assert_eq!(counter.asked(), 1);
    counter.fail(None);
    clock.sleep(Duration::from_secs(1)).await;
    assert_eq!(tokens.now().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_for_one_is_in_time_for_the_next() {
    let counter = Counter {
        takes: Duration::from_secs(10),
        ..Counter::default()
    };
    let (tokens, clock) = tokens(&counter);
    let second = Duration::from_secs(1);
    assert!(clock.timeout(second, tokens.now()).await.is_none());
    clock.sleep(10 * second).await;
    let shown = clock.timeout(second, tokens.now()).await;
    assert_eq!(shown.expect("it is there").unwrap(), 1);
    assert_eq!(counter.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_watches_sees_each_token_before_the_last_one_ends() {
    let counter = Counter::default();
    let (cx, ear) = context();
    let begun = cx.clock().now();
    let mut shown = Tokens::new(counter.clone(), &cx).watch(&cx).await.unwrap();
    assert_eq!(*shown.borrow_and_update(), 1);
    for number in 2..5 {
        shown.changed().await.unwrap();
        assert_eq!(*shown.borrow_and_update(), number);
        let passed = cx.clock().now() - begun;
        let expected = 55 * MINUTE * u32::try_from(number - 1).unwrap();
        assert!(
            passed.abs_diff(expected) < Duration::from_secs(1),
            "{passed:?}"
        );
    }
    assert!(ear.0.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_watches_is_told_when_a_token_ends_and_there_is_no_other() {
    let counter = Counter::default();
    let (cx, ear) = context();
    let begun = cx.clock().now();
    let mut shown = Tokens::new(counter.clone(), &cx).watch(&cx).await.unwrap();
    shown.mark_unchanged();
    counter.fail("no more");
    assert!(shown.changed().await.is_err(), "there is no other");
    let passed = cx.clock().now() - begun;
    assert!(passed.abs_diff(HOUR) < Duration::from_secs(1), "{passed:?}");
    let questions = counter.asked();
    assert!((10..100).contains(&questions), "{questions} questions");
    assert_eq!(
        *ear.0.lock().unwrap(),
        ["the token has ended, and there is no other: no more"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_first_token_that_is_refused_is_the_watchers_error() {
    let counter = Counter::default();
    let (cx, ear) = context();
    counter.fail("no");
    let error = Tokens::new(counter, &cx).watch(&cx).await.unwrap_err();
    assert!(matches!(&error, OpenError::Refused(_)), "{error:?}");
    assert!(ear.0.lock().unwrap().is_empty());
}
