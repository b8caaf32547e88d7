//! Adapters on a server: loaded while it runs under a name of their own (vLLM, SGLang), or chosen
//! among those that it was started with, by number and scale (llama.cpp).

use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::digest;

use super::about::{Server, Software};
use super::connection::{Connection, Failure, Later, Sent};
use super::error::ServerError;

/// An adapter that llama-server was started with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lora {
    pub id: u64,
    pub path: String,
}

/// What requests name.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Chosen {
    /// A model, or an adapter that the server knows as one.
    Model(String),
    /// One of llama-server's adapters at a scale.
    Numbered { model: String, id: u64, scale: f64 },
}

/// An adapter that was put on a server for this run. It is taken off when this is dropped, after an
/// interrupt too.
#[derive(Debug)]
pub struct LoadedThere {
    connection: Arc<Connection>,
    software: Software,
    name: String,
}

impl Lora {
    /// The name of its file.
    pub(super) fn name(&self) -> &str {
        Path::new(&self.path)
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or(&self.path)
    }

    /// The one that is meant by `FILE` or `FILE@0.5`: by its path, its file, or that without `.gguf`.
    pub(super) fn find(loras: &[Lora], wanted: &str) -> Option<(u64, f64)> {
        let by_name = |wanted: &str| {
            let is = |lora: &&Lora| {
                let name = lora.name();
                lora.path == wanted || name == wanted || name.strip_suffix(".gguf") == Some(wanted)
            };
            loras.iter().find(is).map(|lora| lora.id)
        };
        if let Some(id) = by_name(wanted) {
            return Some((id, 1.0));
        }
        let (name, scale) = wanted.rsplit_once('@')?;
        let scale = scale.parse().ok();
        let scale = scale.filter(|scale: &f64| scale.is_finite() && *scale >= 0.0)?;
        Some((by_name(name)?, scale))
    }
}

/// The adapters of llama-server.
pub(super) fn adapters_of(connection: &Connection) -> Result<Vec<Lora>, ServerError> {
    let sent = Sent {
        url: connection.beside("/lora-adapters"),
        body: None,
        asked: "GET /lora-adapters".into(),
    };
    let listed = match connection.once(&sent) {
        Ok(listed) => listed,
        // Versions without it have none.
        Err(Failure::Later(_) | Failure::Never(ServerError::Refused { .. })) => {
            return Ok(Vec::new());
        }
        Err(Failure::Never(error)) => return Err(error),
    };
    let each = listed.as_array().into_iter().flatten().filter_map(|entry| {
        Some(Lora {
            id: entry.get("id")?.as_u64()?,
            path: entry.get("path")?.as_str()?.to_owned(),
        })
    });
    Ok(each.collect())
}

impl Server {
    /// The scales of all of llama-server's adapters in one request; `None` where it has none. Those
    /// that are not asked are off: without this the server applies them to everybody.
    pub(super) fn lora(&self) -> Option<Value> {
        let on = match &self.chosen {
            Some(Chosen::Numbered { id, scale, .. }) => Some((*id, *scale)),
            _ => None,
        };
        let scale = |lora: &Lora| match on {
            Some((id, scale)) if id == lora.id => scale,
            _ => 0.0,
        };
        let each = self
            .loras
            .iter()
            .map(|lora| json!({ "id": lora.id, "scale": scale(lora) }));
        (!self.loras.is_empty()).then(|| each.collect())
    }

    /// Puts an adapter on the server under a name that nobody had before, so that no cache of an
    /// earlier one answers for it.
    ///
    /// # Errors
    /// The server cannot do that, does not allow it, or refuses the adapter; the text says what to do.
    pub fn with_adapter(&self, folder: &Path) -> Result<(Server, LoadedThere), ServerError> {
        let url = self.served.url.clone();
        let refused = |why: String, way_out: String| ServerError::Adapter {
            url: url.clone(),
            adapter: folder.display().to_string(),
            why,
            way_out,
        };
        let path = std::path::absolute(folder)
            .map_err(|error| refused(error.to_string(), "Name its folder.".into()))?;
        let name = unique(&path);
        let model = self.asked_as();
        let (sent_to, asked_as, enable) = match self.about.software {
            Software::Vllm => (
                self.connection.api("/load_lora_adapter"),
                name.clone(),
                "Start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=True in its environment and with \
                 `--enable-lora --max-lora-rank RANK`; the folder has to be there on the server's machine.",
            ),
            Software::Sglang => (
                self.connection.beside("/load_lora_adapter"),
                format!("{model}:{name}"),
                "Start SGLang with `--enable-lora --max-lora-rank RANK --lora-target-modules all`; the \
                 folder has to be there on the server's machine.",
            ),
            Software::LlamaCpp => {
                let known: Vec<&str> = self.loras.iter().map(Lora::name).collect();
                return Err(refused(
                    "llama-server takes adapters when it starts, as GGUF".into(),
                    format!(
                        "Convert it (convert_lora_to_gguf.py of llama.cpp), start with `--lora FILE.gguf`, \
                         and name it as {url}#FILE.gguf, or {url}#FILE.gguf@0.5. It has {}.",
                        if known.is_empty() {
                            "none now".into()
                        } else {
                            known.join(", ")
                        }
                    ),
                ));
            }
            Software::Other(_) => {
                return Err(refused(
                    format!(
                        "{} has no way to load one while it runs",
                        self.about.software.name()
                    ),
                    format!("Serve it as a model of its own, and name it as {url}#MODEL."),
                ));
            }
        };
        let body = json!({ "lora_name": name, "lora_path": path.display().to_string() });
        let sent = Sent {
            url: sent_to,
            body: Some(&body),
            asked: "POST /load_lora_adapter".into(),
        };
        match self.connection.text(&sent) {
            // SGLang says no with a status of 200.
            Ok(text)
                if text.contains("\"success\":false") || text.contains("\"success\": false") =>
            {
                return Err(refused(self.connection.said(&text), enable.into()));
            }
            Ok(_) => {}
            Err(Failure::Never(ServerError::Refused { said, .. })) => {
                return Err(refused(said, enable.into()));
            }
            Err(Failure::Never(error)) => return Err(error),
            Err(Failure::Later(Later { what, .. })) => return Err(refused(what, enable.into())),
        }
        let loaded = LoadedThere {
            connection: self.connection.clone(),
            software: self.about.software.clone(),
            name,
        };
        let server = Server {
            chosen: Some(Chosen::Model(asked_as)),
            ..self.clone()
        };
        Ok((server, loaded))
    }
}

/// A name that no earlier run used: a server may answer for a name from what it cached.
fn unique(folder: &Path) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let all = format!(
        "{} {} {}",
        folder.display(),
        std::process::id(),
        now.as_nanos()
    );
    format!("qeval-{}", digest::short(&digest::bytes(all)))
}

impl Drop for LoadedThere {
    fn drop(&mut self) {
        let url = match self.software {
            Software::Sglang => self.connection.beside("/unload_lora_adapter"),
            _ => self.connection.api("/unload_lora_adapter"),
        };
        let body = json!({ "lora_name": self.name });
        let sent = Sent {
            url,
            body: Some(&body),
            asked: "POST /unload_lora_adapter".into(),
        };
        // A server that is gone has unloaded it too.
        let _ = self.connection.text(&sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::testing::served;

    #[test]
    fn an_adapter_of_llama_server_is_found_by_its_file_and_its_scale() {
        let lora = |id, path: &str| Lora {
            id,
            path: path.into(),
        };
        let loras = [lora(0, "/a/good.gguf"), lora(1, "/a/me@home.gguf")];
        for (wanted, found) in [
            ("good.gguf", Some((0, 1.0))),
            ("good@0.5", Some((0, 0.5))),
            ("/a/good.gguf@0", Some((0, 0.0))),
            ("me@home.gguf", Some((1, 1.0))),
            ("me@home@0.25", Some((1, 0.25))),
            ("good@half", None),
            ("good@-1", None),
            ("bad", None),
        ] {
            assert_eq!(Lora::find(&loras, wanted), found, "{wanted}");
        }
        let mut server = served("m", Software::LlamaCpp);
        assert_eq!(server.lora(), None);
        server.loras = loras.to_vec().into();
        let off = json!([{ "id": 0, "scale": 0.0 }, { "id": 1, "scale": 0.0 }]);
        assert_eq!(
            server.lora(),
            Some(off),
            "the base is asked with every adapter off"
        );
        server.chosen = Some(Chosen::Numbered {
            model: "m".into(),
            id: 1,
            scale: 0.5,
        });
        let half = json!([{ "id": 0, "scale": 0.0 }, { "id": 1, "scale": 0.5 }]);
        assert_eq!(server.lora(), Some(half));
    }

    #[test]
    fn a_server_that_cannot_says_what_to_do() {
        let said = |software| {
            let server = served("m", software);
            let error = server.with_adapter(Path::new("runs/a")).unwrap_err();
            error.to_string()
        };
        insta::assert_snapshot!(said(Software::LlamaCpp), @"
        http://localhost:1/v1: the adapter runs/a cannot be asked there: llama-server takes adapters when it starts, as GGUF
          Convert it (convert_lora_to_gguf.py of llama.cpp), start with `--lora FILE.gguf`, and name it as http://localhost:1/v1#FILE.gguf, or http://localhost:1/v1#FILE.gguf@0.5. It has none now.
        ");
        insta::assert_snapshot!(said(Software::Other("openai".into())), @"
        http://localhost:1/v1: the adapter runs/a cannot be asked there: openai has no way to load one while it runs
          Serve it as a model of its own, and name it as http://localhost:1/v1#MODEL.
        ");
    }
}
