//! The app in this process: plain async functions, one for each input, or the routes of an
//! actix-web service, called without a socket.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, PoisonError, RwLock};

use bindery_actors::app::{
    Answer, App, AppConnection, Forward, InputName, LocalBoxFuture, Refusal,
};
use bindery_contract::{BoxFuture, Cause, Event};
use bytes::Bytes;

use super::routes::{Routes, Service};

/// What a handler may answer with.
pub trait IntoAnswer {
    /// The answer.
    fn into_answer(self) -> Answer;
}

impl IntoAnswer for () {
    fn into_answer(self) -> Answer {
        Answer::default()
    }
}

impl IntoAnswer for Bytes {
    fn into_answer(self) -> Answer {
        Answer {
            reply: self,
            forward: Forward::Nothing,
        }
    }
}

impl IntoAnswer for String {
    fn into_answer(self) -> Answer {
        Bytes::from(self).into_answer()
    }
}

impl IntoAnswer for Answer {
    fn into_answer(self) -> Answer {
        self
    }
}

type Handler = dyn Fn(Event) -> LocalBoxFuture<'static, Result<Answer, Refusal>> + Send + Sync;

/// The handlers of the inputs, by component name. Handlers may come later; a later one replaces
/// an earlier one of the same name.
#[derive(Clone, Default)]
pub struct Handlers {
    all: Arc<RwLock<HashMap<String, Arc<Handler>>>>,
}

impl Handlers {
    /// Sets the handler of an input. Its future runs on the thread that delivers the event and
    /// need not be [`Send`]. An error refuses the event, which is then tried again as its source
    /// has it.
    pub fn set<F, R, T, E>(&self, input: impl Into<String>, handler: F)
    where
        F: Fn(Event) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + 'static,
        T: IntoAnswer,
        E: Display,
    {
        let boxed = move |event| -> LocalBoxFuture<'static, _> {
            let handling = handler(event);
            Box::pin(async move {
                match handling.await {
                    Ok(answer) => Ok(answer.into_answer()),
                    Err(error) => Err(Refusal {
                        error: error.to_string(),
                        status: None,
                    }),
                }
            })
        };
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(input.into(), Arc::new(boxed));
    }

    fn is_empty(&self) -> bool {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.is_empty()
    }

    fn get(&self, input: &str) -> Option<Arc<Handler>> {
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        all.get(input).cloned()
    }
}

/// An app in this process.
#[derive(Clone, Default)]
pub struct InProcessApp {
    /// Its plain functions.
    pub handlers: Handlers,
    /// Its routes: they get the events that have no function of their own.
    pub routes: Option<Routes>,
}

impl InProcessApp {
    /// Whether there is nothing that could take an event.
    pub fn is_empty(&self) -> bool {
        self.handlers.is_empty() && self.routes.is_none()
    }
}

impl App for InProcessApp {
    /// An input with a function is wanted. Where there are routes, all are: a route cannot be
    /// asked for without being called, so one that is missing shows as a 404.
    fn subscribes<'a>(&'a self, input: &'a InputName) -> BoxFuture<'a, Result<bool, Cause>> {
        let wanted = self.routes.is_some() || self.handlers.get(&input.component).is_some();
        Box::pin(async move { Ok(wanted) })
    }

    fn connect(&self) -> Box<dyn AppConnection> {
        Box::new(Connection {
            handlers: self.handlers.clone(),
            service: self.routes.as_ref().map(Routes::service),
        })
    }
}

/// The way to the app on one thread.
struct Connection {
    handlers: Handlers,
    service: Option<Service>,
}

impl AppConnection for Connection {
    fn deliver<'a>(
        &'a self,
        input: &'a InputName,
        event: &'a Event,
    ) -> LocalBoxFuture<'a, Result<Answer, Refusal>> {
        if let Some(handler) = self.handlers.get(&input.component) {
            return handler(event.clone());
        }
        match &self.service {
            Some(service) => Box::pin(service.deliver(input, event)),
            None => {
                Box::pin(async { Err(Refusal::unreachable("no handler is set for this input")) })
            }
        }
    }
}
