//! One supervisor: requests with answers, and its events.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use shim::protocol::{Call, Event, Message, Packet, Reply, Request, State, VERSION};
use spec::{ErrorKind, WireError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::connection::{Connection, gone, protocol};

/// Longest time a supervisor may take for an answer. Creation reads the image's files, which a slow
/// disk delays; nothing it does takes longer on its own account.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What comes from a supervisor unasked.
#[derive(Debug)]
pub(crate) enum TaskEvent {
    /// It reports something.
    Event(Event),
    /// Its connection has ended; nothing follows.
    Gone,
}

/// A connection to a supervisor. Dropping it leaves the supervisor alone.
#[derive(Debug)]
pub(crate) struct Task {
    connection: Arc<Connection>,
    pending: Arc<Mutex<Pending>>,
    reader: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    ended: bool,
    waiting: HashMap<u64, oneshot::Sender<Result<Reply, WireError>>>,
}

/// An answer that is on its way.
#[derive(Debug)]
pub(crate) struct Answer(oneshot::Receiver<Result<Reply, WireError>>);

impl Answer {
    /// Waits for it.
    pub(crate) async fn get(self) -> Result<Reply, WireError> {
        match tokio::time::timeout(ANSWER_TIMEOUT, self.0).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(gone("supervisor")),
            Err(_) => Err(WireError::new(
                ErrorKind::Unavailable,
                "the supervisor does not answer",
            )),
        }
    }
}

impl Task {
    /// Takes a connection; events go to the channel until [`TaskEvent::Gone`].
    pub(crate) fn new(
        socket: OwnedFd,
        events: mpsc::UnboundedSender<TaskEvent>,
    ) -> Result<Self, WireError> {
        let connection = Arc::new(Connection::new(socket)?);
        let pending = Arc::new(Mutex::new(Pending::default()));
        let reader = tokio::spawn(read(Arc::clone(&connection), Arc::clone(&pending), events));
        Ok(Self {
            connection,
            pending,
            reader,
        })
    }

    /// Sends a request; its answer can be awaited later, so that requests can follow each other.
    pub(crate) async fn send(
        &self,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<Answer, WireError> {
        let (reply, answer) = oneshot::channel();
        let id = {
            let mut pending = self.pending.lock().expect("no panics while held");
            if pending.ended {
                return Err(gone("supervisor"));
            }
            pending.next += 1;
            let id = pending.next;
            pending.waiting.insert(id, reply);
            id
        };
        let sent = match Packet::encode(&Call { id, request }, fds) {
            Ok(packet) => self.connection.send(&packet).await,
            Err(error) => Err(protocol(&error)),
        };
        if let Err(error) = sent {
            let mut pending = self.pending.lock().expect("no panics while held");
            pending.waiting.remove(&id);
            return Err(error);
        }
        Ok(Answer(answer))
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call(
        &self,
        request: Request,
        fds: Vec<OwnedFd>,
    ) -> Result<Reply, WireError> {
        self.send(request, fds).await?.get().await
    }

    /// Greets a supervisor that was there before and learns its state.
    pub(crate) async fn hello(&self) -> Result<State, WireError> {
        match self
            .call(Request::Hello { version: VERSION }, Vec::new())
            .await?
        {
            Reply::State(state) => Ok(*state),
            other => Err(unexpected(&other)),
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// An answer that does not fit the question.
pub(crate) fn unexpected(reply: &Reply) -> WireError {
    WireError::new(
        ErrorKind::Internal,
        format!("the supervisor answered something else: {reply:?}"),
    )
}

async fn read(
    connection: Arc<Connection>,
    pending: Arc<Mutex<Pending>>,
    events: mpsc::UnboundedSender<TaskEvent>,
) {
    loop {
        let packet = match connection.receive().await {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(error) => {
                tracing::warn!(error = spec::error::chain(&error), "lost a supervisor");
                break;
            }
        };
        match packet.decode::<Message>() {
            Ok((Message::Reply { id, result }, _)) => {
                let waiting = {
                    let mut pending = pending.lock().expect("no panics while held");
                    pending.waiting.remove(&id)
                };
                if let Some(reply) = waiting {
                    // Whoever asked may have left meanwhile.
                    let _left = reply.send(result.into());
                }
            }
            Ok((Message::Event(event), _)) => {
                if events.send(TaskEvent::Event(event)).is_err() {
                    break;
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = spec::error::chain(&error),
                    "a supervisor speaks strangely"
                );
                break;
            }
        }
    }
    {
        let mut pending = pending.lock().expect("no panics while held");
        pending.ended = true;
        pending.waiting.clear();
    }
    let _driver_ended = events.send(TaskEvent::Gone);
}

#[cfg(test)]
mod tests {
    use super::*;
    use shim::protocol::{Exit, Outcome};
    use spec::Timestamp;

    /// A supervisor that says what a test wants it to say.
    struct Fake(Connection);

    impl Fake {
        fn pair() -> (Task, mpsc::UnboundedReceiver<TaskEvent>, Self) {
            let (ours, theirs) = sys::fdpass::seqpacket_pair().unwrap();
            let (reports, events) = mpsc::unbounded_channel();
            let task = Task::new(ours, reports).unwrap();
            (task, events, Self(Connection::new(theirs).unwrap()))
        }

        async fn hear(&self) -> (Call, Vec<OwnedFd>) {
            self.0.receive().await.unwrap().unwrap().decode().unwrap()
        }

        async fn say(&self, message: Message) {
            let packet = Packet::encode(&message, Vec::new()).unwrap();
            self.0.send(&packet).await.unwrap();
        }
    }

    #[tokio::test]
    async fn answers_find_their_questions_and_events_come_in_between() {
        let (task, mut events, fake) = Fake::pair();
        let (_keep, netns) = sys::fdpass::stream_pair().unwrap();
        let first = task.send(Request::Start, Vec::new()).await.unwrap();
        let second = task.send(Request::Pause, vec![netns]).await.unwrap();
        let (start, _) = fake.hear().await;
        let (pause, fds) = fake.hear().await;
        assert_eq!((start.request, fds.len()), (Request::Start, 1));
        let refused = WireError::new(ErrorKind::Conflict, "no");
        fake.say(Message::Reply {
            id: pause.id,
            result: Outcome::Error(refused.clone()),
        })
        .await;
        fake.say(Message::Event(Event::Oom)).await;
        let at = Timestamp::from_unix(1, 0);
        let started = Reply::Started { at };
        fake.say(Message::Reply {
            id: start.id,
            result: Outcome::Ok(started.clone()),
        })
        .await;
        assert_eq!(second.get().await.unwrap_err(), refused);
        assert_eq!(first.get().await.unwrap(), started);
        assert!(matches!(
            events.recv().await,
            Some(TaskEvent::Event(Event::Oom))
        ));
    }

    #[tokio::test]
    async fn a_lost_supervisor_answers_everything_and_is_told_last() {
        let (task, mut events, fake) = Fake::pair();
        let answer = task.send(Request::Start, Vec::new()).await.unwrap();
        let exit = Exit {
            code: 3,
            signal: None,
            oom_killed: false,
            at: Timestamp::ZERO,
            warnings: Vec::new(),
        };
        fake.say(Message::Event(Event::Exited(exit))).await;
        drop(fake);
        assert_eq!(answer.get().await.unwrap_err().kind, ErrorKind::Unavailable);
        assert!(matches!(
            events.recv().await,
            Some(TaskEvent::Event(Event::Exited(_)))
        ));
        assert!(matches!(events.recv().await, Some(TaskEvent::Gone)));
        assert!(task.send(Request::Start, Vec::new()).await.is_err());
    }
}
