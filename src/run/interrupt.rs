//! Ctrl-C ends a run at the next answer or step, so that nothing finished is lost; a terminal that
//! closes and a request to end (SIGHUP, SIGTERM) do the same.
//!
//! Whoever works in small pieces and looks for the wish between them says so with a [`Glances`].
//! Nothing else has anything to finish: while nobody looks (a model is fetched or loaded, suites are
//! checked, statistics are counted), the process ends at once.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::error::RunError;

/// Time after which whoever asked is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// Set once the user asked to stop. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<State>);

#[derive(Debug, Default)]
struct State {
    asked: AtomicBool,
    ended: AtomicBool,
    looking: AtomicUsize,
}

/// Says, as long as it lives, that somebody looks for the wish to stop and ends by it.
#[derive(Debug)]
pub struct Glances(Interrupt);

impl Drop for Glances {
    fn drop(&mut self) {
        self.0.0.looking.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Interrupt {
    /// One that hears Ctrl-C, SIGTERM, and SIGHUP. The process ends with `code` at once when nobody
    /// looks, and when it is asked a second time.
    pub fn listen(runtime: &tokio::runtime::Handle, code: i32) -> Self {
        let interrupt = Interrupt::default();
        let heard = interrupt.clone();
        runtime.spawn(async move {
            let mut signals = Signals::new();
            let mut reminder = None;
            loop {
                let until = reminder.unwrap_or_else(Instant::now);
                tokio::select! {
                    signal = signals.next() => {
                        let Some(signal) = signal else { return };
                        if signal == Signal::End {
                            heard.0.ended.store(true, Ordering::SeqCst);
                        }
                        if heard.ask() {
                            end(code);
                        }
                        reminder = Some(Instant::now() + PATIENCE);
                    }
                    // A long step is no reason to be silent.
                    () = tokio::time::sleep_until(until), if reminder.is_some() => {
                        reminder = None;
                        if heard.is_set() && heard.is_looked_for() {
                            tell("stopping after this step; asked again, it ends at once\n");
                        }
                    }
                }
            }
        });
        interrupt
    }

    /// Hears the wish; whether the process has to end now.
    fn ask(&self) -> bool {
        self.0.asked.swap(true, Ordering::SeqCst) || !self.is_looked_for()
    }

    fn is_looked_for(&self) -> bool {
        self.0.looking.load(Ordering::SeqCst) > 0
    }

    /// From now on the caller looks for the wish, every few seconds at the longest step, and ends by
    /// it.
    #[must_use = "nobody is taken to look once it is dropped"]
    pub fn glances(&self) -> Glances {
        self.0.looking.fetch_add(1, Ordering::SeqCst);
        Glances(self.clone())
    }

    /// Whether the user asked to stop.
    pub fn is_set(&self) -> bool {
        self.0.asked.load(Ordering::SeqCst)
    }

    /// Whether the user asked to stop; the wish is then seen to, and another can come.
    pub fn take(&self) -> bool {
        self.0.asked.swap(false, Ordering::SeqCst)
    }

    /// Whether the process was asked to end, which no conversation goes on after.
    pub fn is_end(&self) -> bool {
        self.0.ended.load(Ordering::SeqCst)
    }

    /// Asks to stop.
    pub fn set(&self) {
        self.0.asked.store(true, Ordering::SeqCst);
    }
}

/// What is finished is on disk, and what is half written is taken for nothing, as after a crash.
fn end(code: i32) -> ! {
    tell(&format!("error: {}\n", RunError::Interrupted));
    std::process::exit(code);
}

/// Says something on standard error, on a line of its own where a bar may stand.
fn tell(text: &str) {
    let mut errors = std::io::stderr();
    let line = if errors.is_terminal() { "\n" } else { "" };
    // A terminal that is gone hears nothing, which is no reason to stay.
    let _ = write!(errors, "{line}{text}");
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    /// Ctrl-C: to stop what is done now.
    Stop,
    /// SIGTERM and SIGHUP: to end.
    #[cfg_attr(not(unix), expect(dead_code, reason = "there is Ctrl-C alone"))]
    End,
}

/// The signals that ask a process to stop or to end.
#[cfg(unix)]
struct Signals(Vec<(Signal, tokio::signal::unix::Signal)>);

#[cfg(unix)]
impl Signals {
    fn new() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let mut kinds = vec![
            (Signal::Stop, SignalKind::interrupt()),
            (Signal::End, SignalKind::terminate()),
        ];
        // Under `nohup` a terminal that closes is to be survived.
        if !is_ignored(libc::SIGHUP) {
            kinds.push((Signal::End, SignalKind::hangup()));
        }
        // One that cannot be heard ends the process as it would any other.
        let heard = kinds
            .into_iter()
            .filter_map(|(what, kind)| Some((what, signal(kind).ok()?)));
        Signals(heard.collect())
    }

    /// Waits for the next; `None`: none can come.
    async fn next(&mut self) -> Option<Signal> {
        if self.0.is_empty() {
            return None;
        }
        std::future::poll_fn(|context| {
            let mut all = self.0.iter_mut();
            match all.find_map(|(what, s)| s.poll_recv(context).is_ready().then_some(*what)) {
                Some(what) => std::task::Poll::Ready(Some(what)),
                None => std::task::Poll::Pending,
            }
        })
        .await
    }
}

#[cfg(unix)]
fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: zeros are a value of this struct of numbers and pointers, and the call writes one.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: a null pointer asks for the present action alone.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> Self {
        Signals
    }

    async fn next(&mut self) -> Option<Signal> {
        tokio::signal::ctrl_c().await.ok().map(|()| Signal::Stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_clone_hears_it_and_no_other_interrupt_does() {
        let (interrupt, other) = (Interrupt::default(), Interrupt::default());
        let clone = interrupt.clone();
        assert!(!clone.is_set());
        interrupt.set();
        assert!(clone.is_set() && !other.is_set());
        assert!(clone.take() && !interrupt.is_set() && !interrupt.take());
    }

    #[test]
    fn the_first_wish_ends_what_nobody_looks_from() {
        assert!(Interrupt::default().ask());
        let interrupt = Interrupt::default();
        let outer = interrupt.glances();
        drop(interrupt.glances());
        assert!(!interrupt.ask(), "whoever looks ends by it");
        assert!(interrupt.ask(), "asked a second time");
        interrupt.take();
        drop(outer);
        assert!(interrupt.ask(), "nobody looks any more");
    }
}
