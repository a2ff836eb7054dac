//! Reading: the component sends events over a stream, and is told over the same stream what
//! became of each.

use std::time::Duration;

use bindery_contract::acks::Concurrent;
use bindery_contract::{Ack, Clock, Event, EventSink, Input, OpenContext, OpenError, ReadError};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

use crate::error::{shown, while_opening};
use crate::link::{Link, Wire, origin};
use crate::proto::input_binding_client::InputBindingClient;
use crate::proto::{
    AckResponseError, InputBindingInitRequest, MetadataRequest, ReadRequest, ReadResponse,
};

/// How many answers may be on their way to the component.
const ANSWERS: usize = 64;
/// How long a component may take to end the stream after it was told everything (runtime §2.7).
const GRACE: Duration = Duration::from_millis(400);

/// The input of a component.
pub(crate) struct Reader {
    client: InputBindingClient<Wire>,
    clock: Clock,
    link: Link,
}

impl Reader {
    /// Prepares the component.
    pub(crate) async fn open(
        link: Link,
        metadata: MetadataRequest,
        cx: &OpenContext,
    ) -> Result<Self, OpenError> {
        // A component is trusted as our own code is: what it sends is taken, however large.
        let mut client = InputBindingClient::with_origin(link.wire(), origin())
            .max_decoding_message_size(usize::MAX);
        let metadata = Some(metadata);
        let prepared = client.init(link.request(InputBindingInitRequest { metadata }));
        let prepared = prepared.await;
        prepared.map_err(|status| while_opening("the component was not prepared", &status))?;
        Ok(Self {
            client,
            clock: cx.clock().clone(),
            link,
        })
    }

    async fn talk(&mut self) -> Result<Talk, ReadError> {
        let (answers, mut outgoing) = mpsc::channel(ANSWERS);
        let outgoing = stream::poll_fn(move |cx| outgoing.poll_recv(cx));
        let begun = self.client.read(self.link.request(outgoing)).await;
        Ok(Talk {
            events: begun.map_err(broken)?.into_inner(),
            answers,
        })
    }
}

impl Input for Reader {
    async fn read(&mut self, events: EventSink) -> Result<(), ReadError> {
        let clock = self.clock.clone();
        let mut talk = tokio::select! {
            biased;
            () = events.stopped() => return Ok(()),
            // A component may say nothing at all before its first event.
            talk = self.talk() => talk?,
        };
        let mut pending = Concurrent::new();
        let mut permit = None;
        while !events.is_stopped() {
            tokio::select! {
                biased;
                () = events.stopped() => {}
                (id, ack) = pending.next() => talk.answer(id, ack).await?,
                given = events.ready(), if permit.is_none() => permit = given.ok(),
                event = talk.next(), if permit.is_some() => {
                    let (id, event) = event?;
                    if let Some(permit) = permit.take() {
                        pending.track(id, permit.send(event));
                    }
                }
            }
        }
        drop(permit);
        while !pending.is_empty() {
            let (id, ack) = pending.next().await;
            talk.answer(id, ack).await?;
        }
        talk.end(&clock).await;
        Ok(())
    }
}

/// A stream of events one way, of answers the other.
struct Talk {
    events: Streaming<ReadResponse>,
    answers: mpsc::Sender<ReadRequest>,
}

impl Talk {
    /// The next event, and how the component knows it. Safe to cancel.
    async fn next(&mut self) -> Result<(String, Event), ReadError> {
        let message = self.events.message().await.map_err(broken)?;
        let ReadResponse {
            data,
            metadata,
            message_id,
            content_type: _,
        } = message.ok_or_else(|| ReadError::disconnected(ENDED))?;
        let event = Event::new(data).with_metadata(metadata.into_iter().collect());
        Ok((message_id, event))
    }

    /// Tells the component what became of an event.
    async fn answer(&self, message_id: String, ack: Ack) -> Result<(), ReadError> {
        let (response_data, response_error) = match ack {
            Ack::Acked(reply) => (reply, None),
            Ack::Nacked(reason) => {
                let message = reason.to_string();
                (Bytes::new(), Some(AckResponseError { message }))
            }
        };
        let answer = ReadRequest {
            response_data,
            message_id,
            response_error,
        };
        let told = self.answers.send(answer).await;
        told.map_err(|_| ReadError::disconnected(ENDED))
    }

    /// Says that no more answers come, and lets those that are on their way arrive. An event that
    /// comes now gets no answer, so it is the component's to send it again.
    async fn end(self, clock: &Clock) {
        let Self {
            mut events,
            answers,
        } = self;
        drop(answers);
        let ended = async { while let Ok(Some(_)) = events.message().await {} };
        let _ = clock.timeout(GRACE, ended).await;
    }
}

const ENDED: &str = "failed to receive binding message: the component ended the stream";

fn broken(status: Status) -> ReadError {
    ReadError::disconnected(format!(
        "failed to receive binding message: {}",
        shown(&status)
    ))
}

/// The input of a component that has none.
pub(crate) struct Resting(#[expect(dead_code, reason = "its end is news")] pub(crate) Link);

impl Input for Resting {
    async fn read(&mut self, events: EventSink) -> Result<(), ReadError> {
        events.stopped().await;
        Ok(())
    }
}
