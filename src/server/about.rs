//! A server and one of its models: found, and asked what it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use crate::digest;
use crate::flow::ServedModel;

use super::adapters::{Chosen, Lora, adapters_of};
use super::address::Address;
use super::connection::{Connection, Failure, Later, Sent};
use super::error::ServerError;
use super::section::ServerSection;

/// Tries of the first request: a server that is not there is told soon.
const FIRST_TRIES: usize = 3;
/// How often a server that is loading is asked again.
const LOADING: Duration = Duration::from_secs(1);
/// Names of models that a message or a record lists.
const LISTED: usize = 40;

/// What answers behind an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Software {
    /// vLLM.
    Vllm,
    /// SGLang.
    Sglang,
    /// llama.cpp's `llama-server`.
    LlamaCpp,
    /// Another one, by what it calls the owner of its models.
    Other(String),
}

impl Software {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Software::Vllm => "vllm",
            Software::Sglang => "sglang",
            Software::LlamaCpp => "llama.cpp",
            Software::Other(owner) => owner,
        }
    }

    fn of(owner: &str) -> Self {
        match owner {
            "vllm" => Software::Vllm,
            "sglang" => Software::Sglang,
            "llamacpp" => Software::LlamaCpp,
            "" => Software::Other("unknown".into()),
            other => Software::Other(other.to_owned()),
        }
    }
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq)]
pub struct About {
    /// What it is.
    pub software: Software,
    /// The version that it tells.
    pub version: Option<String>,
    /// Its answer to `/models`, without what changes from one answer to the next.
    pub models: Value,
    /// What else it says: `/version`, `/props`, or `/get_server_info`; null where it says nothing.
    pub about: Value,
    /// Digest of address, model, software, version, and what tells one set of weights from another.
    pub identity: String,
}

/// A server with the model that is asked. Clones share connections.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where, and which model.
    pub served: ServedModel,
    /// What it is.
    pub about: Arc<About>,
    /// Names of its models.
    pub models: Arc<Vec<String>>,
    pub(super) connection: Arc<Connection>,
    /// Adapters that llama-server was started with.
    pub(super) loras: Arc<Vec<Lora>>,
    /// The adapter that is asked.
    pub(super) chosen: Option<Chosen>,
}

impl Server {
    /// Finds a model behind an address. A server that is still loading is waited for, as
    /// `wait_s` says. `folder` is where the configuration lies, `seed` keys the jitter of pauses.
    ///
    /// # Errors
    /// Nobody is there, it wants a key, it has no such model, or it speaks another language.
    pub fn connect(
        address: &Address,
        section: &ServerSection,
        folder: &std::path::Path,
        seed: u64,
        stop: &dyn Fn() -> bool,
        notice: &mut dyn FnMut(String),
    ) -> Result<Self, ServerError> {
        let connection = Connection::new(address, section, folder, seed)?;
        let listing = first(&connection, stop, notice)?;
        let not_an_api = |what: &str| ServerError::NotAnApi {
            url: address.url.clone(),
            asked: "GET /models".into(),
            what: what.to_owned(),
        };
        let entries = listing.get("data").and_then(Value::as_array);
        let Some(entries) = entries else {
            return Err(not_an_api("JSON that lists no models (`data`)"));
        };
        let name = |entry: &Value| entry.get("id").and_then(Value::as_str).map(str::to_owned);
        let models: Vec<String> = entries.iter().filter_map(name).collect();
        let owner = entries.iter().find_map(|e| e.get("owned_by")?.as_str());
        let software = Software::of(owner.unwrap_or_default());
        let loras = match software {
            Software::LlamaCpp => adapters_of(&connection)?,
            _ => Vec::new(),
        };
        let (model, chosen) = which(address, &software, &models, &loras)?;
        if !models.contains(&model) {
            notice(format!(
                "{} does not list the model {model:?} and is asked for it all the same; it lists {}",
                address.url,
                listed(&models)
            ));
        }
        let about = told(&connection, &software);
        let entry = entries.iter().find(|e| name(e).as_deref() == Some(&model));
        let entry = lasting(entry.cloned().unwrap_or(Value::Null));
        let version = version(&about);
        let served = address.of(address.model.as_deref().unwrap_or(&model));
        let identity = digest::Parts::new("server")
            .part("url", &served.url)
            .part("model", &served.model)
            .part("software", software.name())
            .part("version", version.as_deref().unwrap_or_default())
            .part("entry", digest::json(&weights_of(&entry)))
            .part("about", digest::json(&weights_of(&about)))
            .finish();
        Ok(Server {
            served: ServedModel {
                url: served.url,
                model: served.model,
            },
            about: Arc::new(About {
                software,
                version,
                models: json!({ "asked": entry, "listed": &models[..models.len().min(LISTED)] }),
                about: lasting(about),
                identity,
            }),
            models: Arc::new(models),
            connection: Arc::new(connection),
            loras: Arc::new(loras),
            chosen: chosen.or(Some(Chosen::Model(model))),
        })
    }

    /// The model's name as requests have it.
    pub(super) fn asked_as(&self) -> &str {
        match &self.chosen {
            Some(Chosen::Model(name)) => name,
            Some(Chosen::Numbered { model, .. }) => model,
            None => &self.served.model,
        }
    }

    /// What is asked, in words: `vllm 0.11.0 at http://host:8000/v1`.
    pub fn name(&self) -> String {
        let version = self.about.version.as_deref().map(|v| format!(" {v}"));
        format!(
            "{}{} at {}",
            self.about.software.name(),
            version.unwrap_or_default(),
            self.served.url
        )
    }

    /// Most requests in flight: `concurrency`, and of llama-server no more than it answers at once. It
    /// keeps a connection that goes on being used before all others, which would wait for ever.
    pub fn in_flight(&self) -> usize {
        let at_once = self.about.about.get("total_slots").and_then(Value::as_u64);
        let at_once = at_once.and_then(|n| usize::try_from(n).ok());
        let wanted = self.section().concurrency;
        at_once.map_or(wanted, |at_once| wanted.min(at_once.max(1)))
    }

    /// How it is asked.
    pub fn section(&self) -> &ServerSection {
        &self.connection.section
    }
}

/// The first request: is anybody there?
fn first(
    connection: &Connection,
    stop: &dyn Fn() -> bool,
    notice: &mut dyn FnMut(String),
) -> Result<Value, ServerError> {
    let url = &connection.address.url;
    let sent = Sent {
        url: connection.api("/models"),
        body: None,
        asked: "GET /models".into(),
    };
    let begun = Instant::now();
    let wait = Duration::from_secs(connection.section.wait_s as u64);
    let (mut tries, mut told) = (0, false);
    loop {
        if stop() {
            return Err(ServerError::Interrupted);
        }
        let later = match connection.once(&sent) {
            Ok(listing) => return Ok(listing),
            Err(Failure::Never(error)) => return Err(error),
            Err(Failure::Later(later)) => later,
        };
        let Later {
            what,
            after,
            loading,
            ..
        } = later;
        if loading {
            if begun.elapsed() >= wait {
                let seconds = connection.section.wait_s;
                let url = url.clone();
                return Err(ServerError::Loading { url, seconds, what });
            }
            if !told {
                told = true;
                notice(format!("{url} is not ready yet ({what}) and is waited for"));
            }
        } else {
            tries += 1;
            if tries >= FIRST_TRIES {
                let url = url.clone();
                return Err(ServerError::NotThere { url, what });
            }
        }
        let pause = after.unwrap_or(LOADING).min(wait);
        let until = Instant::now() + pause;
        while Instant::now() < until {
            if stop() {
                return Err(ServerError::Interrupted);
            }
            std::thread::sleep(Duration::from_millis(50).min(pause));
        }
    }
}

/// The model that is meant, and the adapter of llama-server that it may be.
fn which(
    address: &Address,
    software: &Software,
    models: &[String],
    loras: &[Lora],
) -> Result<(String, Option<Chosen>), ServerError> {
    let url = || address.url.clone();
    let shown = || models.iter().take(LISTED).cloned().collect::<Vec<_>>();
    let Some(wanted) = &address.model else {
        return match models {
            [only] => Ok((only.clone(), None)),
            _ => Err(ServerError::WhichModel {
                url: url(),
                models: shown(),
            }),
        };
    };
    if models.contains(wanted) {
        return Ok((wanted.clone(), None));
    }
    if let (Some(model), Some((id, scale))) = (models.first(), Lora::find(loras, wanted)) {
        let chosen = Chosen::Numbered {
            model: model.clone(),
            id,
            scale,
        };
        return Ok((model.clone(), Some(chosen)));
    }
    match software {
        // These list what they have; others may load a model when it is first asked for.
        Software::Vllm | Software::Sglang | Software::LlamaCpp => {
            let mut models = shown();
            models.extend(loras.iter().map(|lora| lora.name().to_owned()));
            Err(ServerError::NoModel {
                url: url(),
                model: wanted.clone(),
                models,
            })
        }
        Software::Other(_) => Ok((wanted.clone(), None)),
    }
}

fn listed(models: &[String]) -> String {
    match models {
        [] => "none".into(),
        some => some[..some.len().min(LISTED)].join(", "),
    }
}

/// What a server tells of itself beside its API. One that tells nothing is asked all the same.
fn told(connection: &Connection, software: &Software) -> Value {
    let path = match software {
        Software::LlamaCpp => "/props",
        Software::Sglang => "/get_server_info",
        Software::Vllm | Software::Other(_) => "/version",
    };
    let sent = Sent {
        url: connection.beside(path),
        body: None,
        asked: format!("GET {path}"),
    };
    match connection.once(&sent) {
        Ok(Value::Object(about)) => Value::Object(about),
        _ => Value::Null,
    }
}

fn version(about: &Value) -> Option<String> {
    let known = ["version", "build_info"];
    let found = known.iter().find_map(|key| about.get(key)?.as_str());
    found.map(|text| crate::text::ellipsize(text, 60))
}

/// Without times and numbers that are drawn anew for each answer.
fn lasting(value: Value) -> Value {
    const PASSING: [&str; 9] = [
        "created",
        "permission",
        "internal_states",
        "is_sleeping",
        "status",
        "media_marker",
        "n_ctx",
        // Every request says how its tokens are chosen.
        "default_generation_settings",
        "ui_settings",
    ];
    match value {
        Value::Object(map) => {
            // SGLang tells its own arguments, keys among them.
            let secret = |key: &str| {
                ["_key", "_keys", "token", "password", "secret"]
                    .iter()
                    .any(|end| key.ends_with(end))
            };
            let kept = map
                .into_iter()
                .filter(|(key, _)| !PASSING.contains(&key.as_str()) && !secret(key));
            Value::Object(kept.map(|(key, value)| (key, lasting(value))).collect())
        }
        other => other,
    }
}

/// What tells one set of weights from another, as far as a server says.
fn weights_of(value: &Value) -> Map<String, Value> {
    const OF_WEIGHTS: [&str; 9] = [
        "id",
        "root",
        "parent",
        "meta",
        "model_path",
        "chat_template",
        "dtype",
        "quantization",
        "revision",
    ];
    let keep = |key: &String| OF_WEIGHTS.contains(&key.as_str());
    let all = value.as_object().into_iter().flatten();
    all.filter(|(key, _)| keep(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_with_each_answer_is_no_other_model() {
        let entry = |created, ctx| {
            json!({
                "id": "m", "created": created, "owned_by": "vllm", "root": "/models/m",
                "max_model_len": ctx, "permission": [{ "id": format!("modelperm-{created}") }],
            })
        };
        assert_eq!(lasting(entry(1, 8)), lasting(entry(2, 8)));
        assert_eq!(weights_of(&entry(1, 8)), weights_of(&entry(2, 16)));
        let told = json!({ "version": "0.5", "admin_api_key": "sk-1", "hf_token": "hf-1" });
        assert_eq!(lasting(told), json!({ "version": "0.5" }));
    }

    #[test]
    fn a_model_that_is_not_named_is_the_only_one() {
        let address = |text: &str| Address::parse(text).unwrap();
        let vllm = Software::Vllm;
        let models = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let find = |text: &str, names: &[&str]| which(&address(text), &vllm, &models(names), &[]);
        assert_eq!(find("http://h:1/v1", &["a"]).unwrap().0, "a");
        assert_eq!(find("http://h:1/v1#b", &["a", "b"]).unwrap().0, "b");
        insta::assert_snapshot!(find("http://h:1/v1", &["a", "b"]).unwrap_err(), @"http://h:1/v1 has a, b: name one after `#`, as in http://h:1/v1#a");
        insta::assert_snapshot!(find("http://h:1/v1#c", &["a", "b"]).unwrap_err(), @r#"http://h:1/v1 has no model "c"; it has a, b"#);
        insta::assert_snapshot!(find("http://h:1/v1", &[]).unwrap_err(), @"http://h:1/v1 has no model: name one after `#`, as in http://h:1/v1#MODEL");
        // Another server may load it when it is asked.
        let other = Software::Other("HuggingFaceTB".into());
        let found = which(&address("http://h:1/v1#c"), &other, &models(&["a"]), &[]);
        assert_eq!(found.unwrap().0, "c");
    }
}
