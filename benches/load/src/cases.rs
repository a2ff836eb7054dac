//! What is measured: in each case the least that could do the same, and Bindery.

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::servers::Kind;

/// A case.
#[derive(Debug)]
pub struct Case {
    /// How the command line calls it.
    pub name: &'static str,
    /// What is measured.
    pub title: &'static str,
    /// The least that could do the same.
    pub plain: Kind,
    /// What that is.
    pub plain_is: &'static str,
    /// Bindery.
    pub bindery: Kind,
    /// Whom both of them talk to.
    pub other_side: Option<Kind>,
    /// What they have to do.
    pub work: Work,
    /// What we hold ourselves to: CPU time as a multiple of plain's; of idle connections, MiB.
    pub limit: f64,
}

/// What the servers of a case have to do.
#[derive(Clone, Copy, Debug)]
pub enum Work {
    /// Answer requests to this output.
    Requests {
        /// Its name.
        output: &'static str,
    },
    /// Send events to an app.
    Events,
    /// Hold connections open.
    Idle {
        /// Whose connections.
        over: Protocol,
    },
}

/// What a client speaks.
#[derive(Clone, Copy, Debug)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// gRPC.
    Grpc,
}

/// All cases.
pub const CASES: &[Case] = &[
    Case {
        name: "invoke",
        title: "POST /v1.0/bindings/echo, its output in the same process",
        plain: Kind::Bare,
        plain_is: "a bare actix-web handler that answers the same bytes",
        bindery: Kind::BinderyEcho,
        other_side: None,
        work: Work::Requests { output: "echo" },
        limit: 1.2,
    },
    Case {
        name: "http",
        title: "POST /v1.0/bindings/http, bindings.http to a server on this machine",
        plain: Kind::Forwarder,
        plain_is: "an actix-web handler that parses the body and posts its data with hyper",
        bindery: Kind::BinderyHttp,
        other_side: Some(Kind::Upstream),
        work: Work::Requests { output: "http" },
        limit: 1.4,
    },
    Case {
        name: "events",
        title: "events of a log with 8 keys, to an app over HTTP",
        plain: Kind::Poster,
        plain_is: "8 tasks that post such events with hyper, one after the other",
        bindery: Kind::BinderyLog,
        other_side: Some(Kind::App),
        work: Work::Events,
        limit: 1.4,
    },
    Case {
        name: "idle",
        title: "HTTP connections that nobody uses after a first request",
        plain: Kind::Bare,
        plain_is: "a bare actix-web handler with as many",
        bindery: Kind::BinderyEcho,
        other_side: None,
        work: Work::Idle {
            over: Protocol::Http,
        },
        limit: 100.0,
    },
    Case {
        name: "idle-grpc",
        title: "gRPC connections that nobody uses after a first call",
        plain: Kind::BareGrpc,
        plain_is: "a bare hyper handler with as many",
        bindery: Kind::BinderyGrpc,
        other_side: None,
        work: Work::Idle {
            over: Protocol::Grpc,
        },
        limit: 100.0,
    },
];

/// Reads a case's name.
pub fn parser() -> impl TypedValueParser<Value = &'static Case> {
    let names = CASES.iter();
    let names = names.map(|case| PossibleValue::new(case.name).help(case.title));
    PossibleValuesParser::new(names).try_map(|name| {
        let case = CASES.iter().find(|case| case.name == name);
        case.ok_or("no such case")
    })
}
