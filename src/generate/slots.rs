//! Fixed places in the key-value cache, refilled as work ends.
//!
//! A request's prompt runs in one slot. Its pieces of work then continue from the prompt: one in
//! that slot, the others in copies. The slot stays with its request until the last piece has
//! started, so the prompt is never run twice. What a prompt has in common with the one that was in
//! its slot before, such as a system prompt, is not run again either: its keys and values are there.

use std::collections::VecDeque;
use std::sync::Arc;

use super::request::{Request, Work};

/// What a slot is doing.
pub(super) enum State {
    /// Nothing.
    Free,
    /// Running its request's prompt; `done` tokens of it are in the cache.
    Prompt {
        /// Whose.
        request: Arc<Pending>,
        /// Tokens in the cache.
        done: usize,
    },
    /// Continuing from the prompt.
    Active(Active),
    /// Holds the prompt of a request with pieces that have not started.
    Waiting,
}

/// A request in the engine.
pub(super) struct Pending {
    pub adapter: Option<usize>,
    pub prompt: Arc<[u32]>,
    pub work: Vec<Work>,
}

impl Pending {
    /// Leading tokens that both prompts have under the same adapter; the last token always runs,
    /// because its result is needed.
    fn shared_with(&self, before: &Pending) -> usize {
        if self.adapter != before.adapter {
            return 0;
        }
        let same = self
            .prompt
            .iter()
            .zip(before.prompt.iter())
            .take_while(|(a, b)| a == b)
            .count();
        same.min(self.prompt.len() - 1)
    }
}

/// A piece of work that runs.
pub(super) struct Active {
    pub request: Arc<Pending>,
    /// Place in the request's work.
    pub piece: usize,
    /// Tokens generated so far, or the given text.
    pub tokens: Vec<u32>,
    pub logprobs: Vec<f32>,
    /// Tokens of a given text that are not measured yet.
    pub open: usize,
    /// The slot that keeps the prompt's last row, while the first token has not been chosen from
    /// it. The row stays there: a slot's next prompt begins after its last piece has started.
    pub start: Option<usize>,
}

/// A request whose prompt is in a slot, with pieces still to start.
pub(super) struct Prefix {
    pub request: Arc<Pending>,
    pub slot: usize,
    pub next: usize,
}

/// All slots, and what waits for one.
pub(super) struct Slots {
    pub states: Vec<State>,
    /// The prompt whose keys and values a slot begins with.
    resident: Vec<Option<Arc<Pending>>>,
    pub queue: VecDeque<Request>,
    pub prefixes: Vec<Prefix>,
}

impl Slots {
    pub fn new(count: usize, requests: Vec<Request>) -> Self {
        Slots {
            states: (0..count).map(|_| State::Free).collect(),
            resident: vec![None; count],
            queue: requests.into(),
            prefixes: Vec::new(),
        }
    }

    /// Starts what can start; calls `copy(from, to, positions)` for a piece that continues in
    /// another slot than its prompt's.
    pub fn fill(&mut self, mut copy: impl FnMut(usize, usize, usize)) {
        // A prompt's own slot comes first: it saves a copy, and were another slot to take its last
        // piece, this one would wait for ever.
        for slot in 0..self.states.len() {
            let own = self.prefixes.iter().position(|p| p.slot == slot);
            if let (State::Waiting, Some(own)) = (&self.states[slot], own) {
                self.start(own, slot);
            }
        }
        for slot in 0..self.states.len() {
            if !matches!(self.states[slot], State::Free) {
                continue;
            }
            if let Some(prefix) = self.prefixes.first() {
                copy(prefix.slot, slot, prefix.request.prompt.len());
                self.resident[slot] = Some(prefix.request.clone());
                self.start(0, slot);
            } else if let Some(request) = self.queue.pop_front() {
                let Request {
                    adapter,
                    prompt,
                    work,
                } = request;
                let request = Arc::new(Pending {
                    adapter,
                    prompt,
                    work,
                });
                let done = self.resident[slot]
                    .as_ref()
                    .map_or(0, |before| request.shared_with(before));
                self.states[slot] = State::Prompt { request, done };
            }
        }
    }

    /// Starts the next piece of prefix `which` in `slot`.
    fn start(&mut self, which: usize, slot: usize) {
        let prefix = &mut self.prefixes[which];
        let piece = prefix.next;
        prefix.next += 1;
        let tokens = match &prefix.request.work[piece] {
            Work::Generate { .. } => Vec::new(),
            Work::Score { text, .. } => text.to_vec(),
        };
        self.states[slot] = State::Active(Active {
            request: prefix.request.clone(),
            piece,
            logprobs: vec![0.0; tokens.len()],
            open: tokens.len(),
            tokens,
            start: Some(prefix.slot),
        });
        if prefix.next == prefix.request.work.len() {
            self.prefixes.remove(which);
        }
    }

    /// The prompt in `slot` is complete: its pieces can start.
    pub fn prompt_done(&mut self, slot: usize, request: Arc<Pending>) {
        self.states[slot] = State::Waiting;
        self.resident[slot] = Some(request.clone());
        if request.work.is_empty() {
            self.states[slot] = State::Free;
            return;
        }
        self.prefixes.push(Prefix {
            request,
            slot,
            next: 0,
        });
    }

    /// The piece in `slot` is finished.
    pub fn finish(&mut self, slot: usize) {
        let holds_prompt = self.prefixes.iter().any(|p| p.slot == slot);
        self.states[slot] = if holds_prompt {
            State::Waiting
        } else {
            State::Free
        };
    }

    /// Whether everything is done.
    pub fn idle(&self) -> bool {
        self.queue.is_empty()
            && self.prefixes.is_empty()
            && self.states.iter().all(|s| matches!(s, State::Free))
    }
}
