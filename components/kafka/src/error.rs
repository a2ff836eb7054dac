//! From librdkafka's codes and terse texts to classes and sentences.

use std::fmt;

use bindery_contract::{OpenError, ReadError};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// Something that librdkafka reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    /// What it said about it, without what only its authors need.
    detail: String,
}

impl Problem {
    /// `reason` is librdkafka's own text, or empty.
    pub(crate) fn new(code: Code, reason: &str) -> Self {
        // `host:port/id: what happened (after 1ms in state CONNECT)`
        let detail = match reason.split_once(": ") {
            Some((broker, rest)) if broker.contains('/') && !broker.contains(' ') => rest,
            _ => reason,
        };
        let detail = detail.split(" (after ").next().unwrap_or_default();
        Self {
            code,
            detail: detail.to_owned(),
        }
    }

    /// Whether the other side answered and said no, so that trying again soon is no use.
    pub(crate) fn is_refusal(&self) -> bool {
        match self.code {
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::SSL
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::InvalidTopic
            | Code::InvalidGroupId
            | Code::InvalidSessionTimeout
            | Code::InconsistentGroupProtocol
            | Code::GroupMaxSizeReached
            | Code::PolicyViolation => true,
            Code::BrokerTransportFailure => self.is_tls_alert(),
            _ => false,
        }
    }

    /// With TLS 1.3 a client hears only after the handshake that its certificate was refused,
    /// and librdkafka takes that for a failure of the transport.
    fn is_tls_alert(&self) -> bool {
        self.detail.contains("SSL routines") && self.detail.contains(" alert ")
    }

    /// Whether it is about one connection, which librdkafka makes again by itself. It says
    /// [`Code::AllBrokersDown`] when none is left.
    pub(crate) fn is_about_a_connection(&self) -> bool {
        matches!(
            self.code,
            Code::BrokerTransportFailure
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::TimedOutQueue
                | Code::Authentication
                | Code::SSL
                | Code::AllBrokersDown
        )
    }
}

impl From<&KafkaError> for Problem {
    fn from(error: &KafkaError) -> Self {
        match error.rdkafka_error_code() {
            Some(code) => Self::new(code, ""),
            None => Self {
                code: Code::Fail,
                detail: error.to_string(),
            },
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hint = match self.code {
            Code::Authentication | Code::SaslAuthenticationFailed => {
                "check saslUsername, saslPassword and saslMechanism"
            }
            Code::SSL => "check caCert, and that the brokers' certificates name their hosts",
            Code::BrokerTransportFailure if self.is_tls_alert() => {
                "the broker does not take the client's certificate; check clientCert and clientKey"
            }
            Code::AllBrokersDown => {
                "none can be reached, or all of them close the connection; check brokers, authType \
                 and disableTls"
            }
            Code::TopicAuthorizationFailed => "give the user the right to use the topic",
            Code::GroupAuthorizationFailed => {
                "give the user the right to read with this consumerGroup"
            }
            Code::InconsistentGroupProtocol => {
                "the group's members have no consumerGroupRebalanceStrategy in common"
            }
            Code::InvalidSessionTimeout => {
                "sessionTimeout is outside of what the brokers take (group.min.session.timeout.ms, \
                 group.max.session.timeout.ms)"
            }
            _ => "",
        };
        let detail = match self.detail.as_str() {
            "" => words(self.code),
            detail => detail.to_owned(),
        };
        match hint {
            "" => f.write_str(&detail),
            hint => write!(f, "{detail} ({hint})"),
        }
    }
}

impl std::error::Error for Problem {}

/// What librdkafka calls a code, without the code's own name.
fn words(code: Code) -> String {
    let text = code.to_string();
    match text.split_once(" (") {
        Some((_, words)) => words.trim_end_matches(')').to_owned(),
        None => text,
    }
}

impl Problem {
    /// What it means while a binding is opened.
    pub(crate) fn while_opening(self, brokers: &str) -> OpenError {
        let text = format!("Kafka at {brokers}: {self}");
        if self.is_refusal() {
            OpenError::refused(text)
        } else {
            OpenError::disconnected(text)
        }
    }

    /// What it means for a reader that cannot go on.
    pub(crate) fn while_reading(self, what: &str) -> ReadError {
        let text = format!("{what}: {self}");
        if self.is_refusal() {
            ReadError::refused(text)
        } else {
            ReadError::disconnected(text)
        }
    }
}

/// A client that librdkafka does not even make: a certificate, a key or a value it cannot use.
/// Never shows the value, which may be a secret.
pub(crate) fn unusable(error: &KafkaError) -> OpenError {
    OpenError::invalid(match error {
        KafkaError::ClientConfig(_, problem, property, _) => {
            format!("the client cannot be configured: {property}: {problem}")
        }
        KafkaError::ClientCreation(problem) => {
            format!("the client cannot be configured: {}", in_our_words(problem))
        }
        other => format!("the client cannot be configured: {other}"),
    })
}

/// librdkafka names its own properties where ours are meant.
fn in_our_words(problem: &str) -> String {
    [
        ("ssl.certificate.pem", "clientCert"),
        ("ssl.key.pem", "clientKey"),
        ("ssl.ca.pem", "caCert"),
    ]
    .into_iter()
    .fold(problem.to_owned(), |text, (theirs, ours)| {
        text.replace(theirs, ours)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_authors_need_is_left_out() {
        let problem = Problem::new(
            Code::BrokerTransportFailure,
            "127.0.0.1:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused (after \
             0ms in state CONNECT, 1 identical error(s) suppressed)",
        );
        let text = "Connect to ipv4#127.0.0.1:1 failed: Connection refused";
        assert_eq!(problem.to_string(), text);
        assert!(!problem.is_refusal() && problem.is_about_a_connection());
        let problem = Problem::new(Code::UnknownTopicOrPartition, "");
        assert_eq!(problem.to_string(), "Broker: Unknown topic or partition");
    }

    #[test]
    fn a_no_is_told_from_a_silence() {
        for (code, reason, refusal) in [
            (Code::Authentication, "SASL authentication error", true),
            (Code::SSL, "certificate verify failed", true),
            (
                Code::BrokerTransportFailure,
                "ssl://h:1/1: Receive failed: error:0A000412:SSL routines::ssl/tls alert bad \
                 certificate: SSL alert number 42 (after 4ms in state APIVERSION_QUERY)",
                true,
            ),
            (
                Code::BrokerTransportFailure,
                "SSL handshake failed: Disconnected",
                false,
            ),
            (Code::GroupAuthorizationFailed, "", true),
            (Code::AllBrokersDown, "1/1 brokers are down", false),
            (Code::OperationTimedOut, "", false),
        ] {
            assert_eq!(Problem::new(code, reason).is_refusal(), refusal, "{code}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_used_is_not_shown() {
        let error = KafkaError::ClientConfig(
            rdkafka::types::RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "bad".into(),
            "sasl.password".into(),
            "hunter2".into(),
        );
        let error = unusable(&error).to_string();
        assert!(
            error.contains("sasl.password") && !error.contains("hunter2"),
            "{error}"
        );
        let error = KafkaError::ClientCreation("ssl.key.pem failed: not in PEM format?".into());
        assert!(unusable(&error).to_string().contains("clientKey failed"));
    }
}
