//! Many requests in flight with a bound: replies are handed over as they come, and nothing is held but
//! what is in flight and the places of what waits.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::about::Server;
use super::chat::{Chat, Reply};
use super::connection::{Connection, Failure, Sent};
use super::error::ServerError;
use super::weigh::Weigh;

/// Requests in a row without a usable reply, each after all its tries, that give a server up.
const GIVE_UP: usize = 4;
/// Times that a request which used up its tries is put back.
const ROUNDS: usize = 3;
/// Requests that may pause, in those that may be in flight, before no new one is begun.
const PAUSED: usize = 2;
/// How often the wish to stop is looked for.
const GLANCE: Duration = Duration::from_millis(50);
/// Time without any reply after which the user is told what is waited for.
const SILENCE: Duration = Duration::from_secs(15);

/// One request.
#[derive(Debug, Clone)]
pub enum Asked {
    /// An answer.
    Chat(Chat),
    /// The likelihood of a text.
    Weigh(Weigh),
}

/// One reply.
#[derive(Debug, Clone, PartialEq)]
pub enum Replied {
    /// An answer.
    Chat(Reply),
    /// Log-probabilities of a text's tokens, in nats.
    Weighed(Vec<f32>),
}

/// A request on its way to a worker.
struct Job {
    place: usize,
    asked: Asked,
}

/// What came of one.
struct Done {
    place: usize,
    label: String,
    began: Instant,
    replied: Result<Replied, Failure>,
}

/// How often a request was tried.
#[derive(Default)]
struct Tried {
    /// Since it was last put back.
    now: usize,
    /// Times that it used up its tries.
    rounds: usize,
}

/// What workers share.
struct Round {
    connection: Arc<Connection>,
    server: Server,
    jobs: Mutex<Receiver<Job>>,
    over: Arc<AtomicBool>,
}

impl Server {
    /// Has every request of `0..total` answered, made by `make` when its turn comes; none ends the work
    /// as an interrupt does. Each reply goes to `on_reply` at once, in no particular order. `stop` is
    /// looked at every 50 ms; `notice` hears what the user should know meanwhile.
    ///
    /// # Errors
    /// The server was given up, or refused a request; `E` of `on_reply` as it is. Requests under way
    /// are not waited for.
    pub fn ask_all<E: From<ServerError>>(
        &self,
        total: usize,
        make: &dyn Fn(usize) -> Option<Asked>,
        stop: &dyn Fn() -> bool,
        notice: &mut dyn FnMut(String),
        on_reply: &mut dyn FnMut(usize, Replied) -> Result<(), E>,
    ) -> Result<(), E> {
        if total == 0 {
            return Ok(());
        }
        let connection = self.connection.clone();
        let bound = self.in_flight().clamp(1, total);
        let (give, taken) = sync_channel(bound);
        let (tell, told) = channel();
        let over = Arc::new(AtomicBool::new(false));
        let round = Arc::new(Round {
            connection: connection.clone(),
            server: self.clone(),
            jobs: Mutex::new(taken),
            over: over.clone(),
        });
        for _ in 0..bound {
            let (round, tell) = (round.clone(), tell.clone());
            std::thread::spawn(move || round.work(&tell));
        }
        drop(tell);
        // Whatever ends this, no worker goes on asking.
        let _end = Over(over);
        let mut waiting: VecDeque<usize> = (0..total).collect();
        let mut paused: BinaryHeap<Reverse<(Instant, usize)>> = BinaryHeap::new();
        let mut tried: BTreeMap<usize, Tried> = BTreeMap::new();
        let (mut flying, mut done, mut failures) = (0, 0, 0);
        let mut silent_since = Instant::now();
        let mut last_reply: Option<Instant> = None;
        let mut told_of_silence = false;
        while done < total {
            if stop() {
                return Err(ServerError::Interrupted.into());
            }
            // A request that pauses leaves its place in flight to others, until so many pause that the
            // server seems to be busy or gone.
            let now = Instant::now();
            let mut ready = 0_usize;
            while paused.peek().is_some_and(|Reverse((at, _))| *at <= now) {
                if let Some(Reverse((_, place))) = paused.pop() {
                    waiting.push_front(place);
                    ready += 1;
                }
            }
            while flying < bound
                && (ready > 0 || paused.len() < PAUSED * bound)
                && let Some(place) = waiting.pop_front()
            {
                let Some(asked) = make(place) else {
                    return Err(ServerError::Interrupted.into());
                };
                if give.send(Job { place, asked }).is_err() {
                    break;
                }
                flying += 1;
                ready = ready.saturating_sub(1);
            }
            let Done {
                place,
                label,
                began,
                replied,
            } = match told.recv_timeout(paused.peek().map_or(GLANCE, |Reverse((at, _))| {
                at.saturating_duration_since(now).min(GLANCE)
            })) {
                Ok(done) => done,
                Err(RecvTimeoutError::Timeout) => {
                    if flying > 0 && silent_since.elapsed() >= SILENCE && !told_of_silence {
                        told_of_silence = true;
                        notice(format!(
                            "{} accepts requests and has not replied for {} s; each is waited for {} s",
                            connection.address.url,
                            SILENCE.as_secs(),
                            connection.section.timeout_s
                        ));
                    }
                    continue;
                }
                // Workers live as long as `give`.
                Err(RecvTimeoutError::Disconnected) => return Err(ServerError::Interrupted.into()),
            };
            flying -= 1;
            silent_since = Instant::now();
            match replied {
                Ok(reply) => {
                    (failures, last_reply) = (0, Some(silent_since));
                    tried.remove(&place);
                    done += 1;
                    on_reply(place, reply)?;
                }
                Err(Failure::Never(error)) => return Err(error.into()),
                Err(Failure::Later(later)) => {
                    let tried = tried.entry(place).or_default();
                    tried.now += 1;
                    if tried.now < connection.section.tries && !later.timed_out {
                        let pause = connection.pause(&later, place as u64, tried.now);
                        paused.push(Reverse((Instant::now() + pause, place)));
                        continue;
                    }
                    // A server that replied to others meanwhile has more to do than it is fit for: it
                    // is not gone.
                    let busy = later.timed_out && last_reply.is_some_and(|last| last > began);
                    failures += usize::from(!busy);
                    (tried.now, tried.rounds) = (0, tried.rounds + 1);
                    if failures >= GIVE_UP || tried.rounds >= ROUNDS {
                        return Err(ServerError::GivenUp {
                            url: connection.address.url.clone(),
                            asked: label,
                            failures: failures.max(1),
                            tries: connection.section.tries,
                            what: later.what,
                            done,
                            total,
                        }
                        .into());
                    }
                    waiting.push_back(place);
                }
            }
        }
        Ok(())
    }
}

/// Tells the workers to end.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Round {
    fn work(&self, tell: &Sender<Done>) {
        loop {
            let job = {
                let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
                jobs.recv()
            };
            let Ok(Job { place, asked }) = job else {
                return;
            };
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            let began = Instant::now();
            let replied = self.ask(&asked);
            let label = asked.label();
            let sent = tell.send(Done {
                place,
                label,
                began,
                replied,
            });
            if sent.is_err() {
                return;
            }
        }
    }

    fn ask(&self, asked: &Asked) -> Result<Replied, Failure> {
        match asked {
            Asked::Chat(chat) => {
                let body = chat.body(&self.server);
                let read = |value| chat.read(&self.server, value).map(Replied::Chat);
                self.send(chat.path(), &asked.label(), &body, &read)
            }
            Asked::Weigh(weigh) => {
                let weighed = weigh.resolved(&self.server)?;
                let body = weighed.body(&self.server);
                let read = |value: Value| weighed.read(&value).map(Replied::Weighed);
                self.send("/completions", &asked.label(), &body, &read)
            }
        }
    }

    fn send(
        &self,
        path: &str,
        label: &str,
        body: &Value,
        read: &dyn Fn(Value) -> Result<Replied, Failure>,
    ) -> Result<Replied, Failure> {
        let sent = Sent {
            url: self.connection.api(path),
            body: Some(body),
            asked: format!("POST {path} for {label}"),
        };
        self.connection.once(&sent).and_then(read)
    }
}

impl Asked {
    fn label(&self) -> String {
        match self {
            Asked::Chat(chat) => chat.label.clone(),
            Asked::Weigh(weigh) => weigh.label.clone(),
        }
    }
}
