//! Models behind an OpenAI-compatible server (vLLM, SGLang, llama.cpp, `transformers serve`, a hosted
//! one) that answer cases in place of the local engine.
//!
//! # What a server can be asked, and what not
//! | | local engine | server |
//! |---|---|---|
//! | an answer | token by token, in one batch | one request to `/chat/completions`, many in flight |
//! | the chat template | rendered here | rendered there, unless `template = "here"` |
//! | an answer that is cut | goes on from its cache while a check cannot judge it | stays cut |
//! | log-probabilities of an answer | every token's | where a check wants them and the server gives them |
//! | the likelihood of a given text | one pass | `/completions` with `prompt_logprobs` or `echo`, where it can |
//! | token ids, hidden states, gradients | yes | no: no drift by token, no training |
//! | an adapter | in the batch | loaded under a name of its own (vLLM, SGLang), or by number and scale (llama.cpp) |
//!
//! So an answer is a text with a finish reason, and everything after it is one path: checks, records,
//! verdicts, resuming. `run::evaluate` has the seam, a trait for what answers; this module knows
//! neither suites nor records. It takes requests, and gives back replies as they come:
//! [`Server::connect`] finds the model and asks the server what it is, [`Server::ask_all`] works a
//! list of requests through with a bound on those in flight.
//!
//! # What goes wrong
//! A request that may succeed later (no connection, 408, 429, 5xx, a reply that is cut or no JSON) is
//! tried again after a pause that doubles, or as long as `Retry-After` says. One that has used up its
//! tries goes to the end of the list. After several of those in a row the server is given up. What
//! cannot succeed (another 4xx, a redirect, another model than asked) ends the work at once. What was
//! finished before has been handed over, one reply at a time, and nothing is held but the requests in
//! flight and the places of those that wait.
//!
//! Only the host that was named is contacted: redirects are not followed. The key comes from the
//! environment or a file, is in no `Debug` text, and is taken out of whatever the server says.

mod about;
mod adapters;
mod address;
mod chat;
mod connection;
mod error;
mod pool;
mod section;
#[cfg(test)]
pub(crate) mod testing;
mod weigh;

pub use about::{About, Server, Software};
pub use adapters::LoadedThere;
pub use address::Address;
pub use chat::{Chat, Reply, Turn};
pub use error::ServerError;
pub use pool::{Asked, Replied};
pub use section::{Rendered, ServerSection};
pub use weigh::{Weigh, WeighAfter, Weighing};
