//! What librdkafka's clients say, and what comes of it: the first answer of the brokers, and
//! their silence later.

use std::time::Duration;

use bindery_contract::{Clock, Instant, OpenError, ReadError};
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::sync::mpsc;

use crate::error::{Problem, unusable};

/// Hears what a client of librdkafka says, and passes it on.
pub(crate) struct Ear {
    problems: mpsc::UnboundedSender<Problem>,
}

/// What an [`Ear`] has heard.
pub(crate) type Problems = mpsc::UnboundedReceiver<Problem>;

impl Ear {
    pub(crate) fn new() -> (Self, Problems) {
        let (problems, heard) = mpsc::unbounded_channel();
        (Self { problems }, heard)
    }

    /// Passes a problem on.
    pub(crate) fn tell(&self, problem: Problem) {
        // Nobody who listens means that the client is being closed.
        let _ = self.problems.send(problem);
    }
}

impl ClientContext for Ear {
    /// What people have to know comes as an error as well.
    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", "{facility} {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(Code::Unknown);
        self.tell(Problem::new(code, reason));
    }
}

/// Makes a client. Reads files and starts threads, so it belongs where code may block.
///
/// # Errors
/// When librdkafka cannot use what is configured.
pub(crate) fn create<C, T>(config: &ClientConfig, context: C) -> Result<T, OpenError>
where
    C: ClientContext,
    T: FromClientConfigAndContext<C>,
{
    config
        .create_with_context(context)
        .map_err(|error| unusable(&error))
}

/// How long one look at the brokers takes.
const LOOK: Duration = Duration::from_millis(50);

/// Waits until the brokers have answered: `looks` says whether they have, and may take [`LOOK`].
/// Blocks.
///
/// # Errors
/// What the brokers said instead, or that they were silent until `limit` was over.
pub(crate) fn first_answer(
    brokers: &str,
    limit: Duration,
    clock: &Clock,
    problems: &mut Problems,
    mut looks: impl FnMut(Duration) -> bool,
) -> Result<(), OpenError> {
    let deadline = clock.now() + limit;
    let mut last = None;
    while !looks(LOOK) {
        while let Ok(problem) = problems.try_recv() {
            // One broker that fails says nothing of the others; that all have failed comes last.
            if problem.code == Code::AllBrokersDown {
                return Err(last.unwrap_or(problem).while_opening(brokers));
            }
            last = Some(problem);
        }
        if clock.now() >= deadline {
            let silence = || {
                let text = format!("no answer within {limit:?}");
                Problem::new(Code::OperationTimedOut, &text)
            };
            return Err(last.unwrap_or_else(silence).while_opening(brokers));
        }
    }
    Ok(())
}

/// Watches for all brokers being away.
///
/// librdkafka says when it has lost the last one and connects again by itself, without saying so.
/// So a while after the bad news it is asked.
pub(crate) struct Outage {
    patience: Duration,
    since: Option<Instant>,
    last: Option<Problem>,
}

impl Outage {
    /// Brokers may be away for `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            since: None,
            last: None,
        }
    }

    /// Takes a problem in. Returns what to tell people when all brokers are away now.
    pub(crate) fn hear(&mut self, problem: Problem, now: Instant) -> Option<String> {
        if problem.code != Code::AllBrokersDown {
            self.last = Some(problem);
            return None;
        }
        if self.since.is_some() {
            return None;
        }
        self.since = Some(now);
        self.last.get_or_insert(problem);
        Some(self.why())
    }

    /// Resolves when it is time to ask whether the brokers are there again.
    pub(crate) async fn due(&self, clock: &Clock) {
        match self.since {
            Some(since) => clock.sleep_until(since + self.patience).await,
            None => std::future::pending().await,
        }
    }

    /// They are there again.
    pub(crate) fn over(&mut self) {
        self.since = None;
        self.last = None;
    }

    /// Why they are away, as far as that is known.
    pub(crate) fn why(&self) -> String {
        let last = self.last.as_ref().map(Problem::to_string);
        format!("all brokers are away: {}", last.unwrap_or_default())
    }

    /// They are not there again: it is to be opened anew.
    pub(crate) fn lost(&self) -> ReadError {
        ReadError::disconnected(self.why())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn down() -> Problem {
        Problem::new(Code::AllBrokersDown, "1/1 brokers are down")
    }

    #[test]
    fn the_last_problem_explains_why_all_brokers_are_away() {
        let (ear, mut problems) = Ear::new();
        let refused = KafkaError::Global(Code::Authentication);
        ear.error(
            refused,
            "h:1/1: wrong password (after 1ms in state AUTH_REQ)",
        );
        ear.error(
            KafkaError::Global(Code::AllBrokersDown),
            "1/1 brokers are down",
        );
        let limit = Duration::from_secs(60);
        let clock = Clock::system();
        let error = first_answer("h:1", limit, &clock, &mut problems, |_| false).unwrap_err();
        assert!(matches!(error, OpenError::Refused(_)));
        assert!(
            error
                .to_string()
                .starts_with("Kafka at h:1: wrong password"),
            "{error}"
        );
    }

    #[test]
    fn one_broker_that_fails_is_not_all() {
        let (ear, mut problems) = Ear::new();
        ear.error(
            KafkaError::Global(Code::BrokerTransportFailure),
            "h:1/1: refused",
        );
        let mut looks = 0;
        let answer = first_answer(
            "h:1,h:2",
            Duration::from_secs(60),
            &Clock::system(),
            &mut problems,
            |_| {
                looks += 1;
                looks == 3
            },
        );
        assert!(answer.is_ok());
    }

    #[test]
    fn silence_ends_with_an_error() {
        let (_ear, mut problems) = Ear::new();
        let error = first_answer(
            "h:1",
            Duration::ZERO,
            &Clock::system(),
            &mut problems,
            |_| false,
        );
        let error = error.unwrap_err();
        assert!(matches!(error, OpenError::Disconnected(_)), "{error}");
        assert!(error.to_string().contains("no answer within"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_due_once_its_patience_is_over() {
        let clock = Clock::system();
        let mut outage = Outage::new(Duration::from_secs(10));
        assert!(outage.due(&clock).now_or_never().is_none());
        let refused = Problem::new(Code::BrokerTransportFailure, "Connection refused");
        assert_eq!(outage.hear(refused, clock.now()), None);
        let told = outage.hear(down(), clock.now());
        assert_eq!(
            told.as_deref(),
            Some("all brokers are away: Connection refused")
        );
        clock.sleep(Duration::from_secs(6)).await;
        assert_eq!(outage.hear(down(), clock.now()), None, "said already");
        let before = clock.now();
        outage.due(&clock).await;
        assert_eq!(clock.now() - before, Duration::from_secs(4));
        outage.over();
        assert!(outage.due(&clock).now_or_never().is_none());
    }
}
