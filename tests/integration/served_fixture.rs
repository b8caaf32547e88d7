//! The fixture model behind a server: the real engine answers, so what comes over HTTP can be compared
//! with what is answered here. It speaks as vLLM does.

use std::collections::BTreeMap;
use std::sync::Mutex;

use qeval::flow::{Exchange, Finish, Phase};
use qeval::generate::{Finished, Request, Sampling, Work};
use qeval::lora::{Adapter, LoadedAdapter};
use qeval::model::{Compute, DeviceChoice, Dtype};
use qeval::run::{AnswerSettings, Asking, Bar, Interrupt, Put, Session, answer};
use serde_json::{Value, json};

use crate::fake::{Fake, Got, Say, models, said};
use crate::support::fixture;

/// A model with adapters under their names, some loaded while it runs.
struct Engine {
    session: Session,
    interrupt: Interrupt,
    adapters: BTreeMap<String, LoadedAdapter>,
}

/// What the server allows.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allows {
    /// Adapters while it runs.
    pub adapters: bool,
    /// Log-probabilities of what it is given.
    pub logprobs: bool,
}

impl Engine {
    fn new() -> Self {
        let compute = Compute {
            device: DeviceChoice::Cpu,
            dtype: Dtype::Auto,
            ..Compute::default()
        };
        let model = fixture("models/fixture").display().to_string();
        let session = Session::open(&model, None, compute, &mut |_| {}).unwrap();
        let mut engine = Engine {
            session,
            interrupt: Interrupt::default(),
            adapters: BTreeMap::new(),
        };
        for name in ["good", "harmful"] {
            let folder = fixture(&format!("adapters/fixture/{name}"));
            engine.load(name, &folder);
        }
        engine
    }

    fn load(&mut self, name: &str, folder: &std::path::Path) {
        let config = self.session.decoder.config();
        let adapter = Adapter::read(folder, config).unwrap();
        let loaded = LoadedAdapter::new(&adapter, config, 1.0);
        self.adapters.insert(name.to_owned(), loaded);
    }

    fn asking(&self) -> Asking<'_> {
        Asking {
            session: &self.session,
            slots: 1,
            interrupt: &self.interrupt,
        }
    }

    /// A conversation as its system prompt, its exchanges, and its question.
    fn parts(body: &Value) -> (Option<String>, Vec<Exchange>, String) {
        let text = |m: &Value| m["content"].as_str().unwrap().to_owned();
        let mut turns: Vec<&Value> = body["messages"].as_array().unwrap().iter().collect();
        let system = match turns[0]["role"] == "system" {
            true => Some(text(turns.remove(0))),
            false => None,
        };
        let question = text(turns.pop().unwrap());
        let exchanges = turns.chunks(2).map(|pair| Exchange {
            user: text(pair[0]),
            assistant: text(pair[1]),
        });
        (system, exchanges.collect(), question)
    }

    fn chat(&mut self, got: &Got) -> Value {
        let (system, history, question) = Self::parts(&got.body);
        self.session.use_system(system).unwrap();
        let ids = self.session.prompt(None, &history, &question).unwrap();
        let temperature = got.body["temperature"].as_f64().unwrap();
        let most = got.body["max_tokens"].as_u64().unwrap() as usize;
        let seed = got.body["seed"].as_u64().unwrap();
        let settings = AnswerSettings::at(&self.session, temperature, most, seed);
        let adapters = self.adapters.get(got.model());
        let adapters = adapters.map_or(&[][..], std::slice::from_ref);
        let put = Put {
            adapter: (!adapters.is_empty()).then_some(0),
            history: &history,
            question: &question,
        };
        let all = answer(
            self.asking(),
            adapters,
            &[put],
            &settings,
            &mut |_| {},
            None,
        )
        .unwrap();
        let mut reply = said(got.model(), &all[0].text);
        if all[0].finish == Some(Finish::Length) {
            reply["choices"][0]["finish_reason"] = "length".into();
        }
        reply["usage"] = json!({ "prompt_tokens": ids.len(), "completion_tokens": all[0].tokens });
        reply
    }

    /// An answer to a prompt that was rendered by the caller.
    fn complete(&self, got: &Got) -> Value {
        let prompt = got.body["prompt"].as_str().unwrap();
        let ids = self.session.tokenizer.encode(prompt).unwrap();
        let most = got.body["max_tokens"].as_u64().unwrap() as usize;
        let adapters = self.adapters.get(got.model());
        let adapters = adapters.map_or(&[][..], std::slice::from_ref);
        let count = ids.len();
        let request = Request {
            adapter: (!adapters.is_empty()).then_some(0),
            prompt: ids.into(),
            work: vec![Work::Generate {
                id: 0,
                sampling: Sampling::default(),
                max_new_tokens: most,
                seed: 0,
            }],
        };
        let bar = Bar::new(Phase::Answering, "prompt", 1);
        let mut said = Value::Null;
        self.asking()
            .run(adapters, vec![request], bar, &mut |_| {}, &mut |finished| {
                if let Finished::Generated { tokens, finish, .. } = finished {
                    said = json!({
                        "model": got.model(),
                        "choices": [{
                            "text": self.session.tokenizer.decode(&tokens).unwrap(),
                            "finish_reason": if finish == Finish::Stop { "stop" } else { "length" },
                        }],
                        "usage": { "prompt_tokens": count, "completion_tokens": tokens.len() },
                    });
                }
                Ok(1)
            })
            .unwrap();
        said
    }

    /// `prompt_logprobs` of token ids.
    fn weigh(&self, got: &Got) -> Value {
        let ids = got.body["prompt"].as_array().unwrap().iter();
        let ids: Vec<u32> = ids.map(|id| id.as_u64().unwrap() as u32).collect();
        let adapters = self.adapters.get(got.model());
        let adapters = adapters.map_or(&[][..], std::slice::from_ref);
        let request = Request {
            adapter: (!adapters.is_empty()).then_some(0),
            prompt: ids[..1].into(),
            work: vec![Work::Score {
                id: 0,
                text: ids[1..].into(),
            }],
        };
        let bar = Bar::new(Phase::Answering, "texts", 1);
        let mut each = vec![Value::Null];
        self.asking()
            .run(adapters, vec![request], bar, &mut |_| {}, &mut |finished| {
                if let Finished::Scored { logprobs, .. } = finished {
                    let of = ids[1..].iter().zip(logprobs);
                    each.extend(of.map(|(id, l)| json!({ id.to_string(): { "logprob": l } })));
                }
                Ok(1)
            })
            .unwrap();
        json!({ "choices": [{ "text": "", "finish_reason": "length", "prompt_logprobs": each }] })
    }

    fn tokenize(&mut self, body: &Value) -> Value {
        let ids = match body.get("messages") {
            Some(_) => {
                let (system, history, question) = Self::parts(body);
                self.session.use_system(system).unwrap();
                self.session
                    .prompt(None, &history, &question)
                    .unwrap()
                    .to_vec()
            }
            None => {
                let text = body["prompt"].as_str().unwrap();
                self.session.tokenizer.encode(text).unwrap()
            }
        };
        json!({ "tokens": ids, "count": ids.len() })
    }
}

/// The fixture model as `base`, with its adapters as models of their own.
pub fn serve(allows: Allows) -> Fake {
    let engine = Mutex::new(Engine::new());
    Fake::start(move |got| {
        let mut engine = engine.lock().unwrap();
        let refused = |status: u16, message: &str| {
            Say::Json(status, json!({ "error": { "message": message } }))
        };
        match got.path.as_str() {
            "/v1/models" => Say::Json(200, models("vllm", &["base", "good", "harmful"])),
            "/version" => Say::Json(200, json!({ "version": "0.11.0" })),
            "/tokenize" if allows.logprobs => Say::Json(200, engine.tokenize(&got.body)),
            "/v1/completions" if got.body["prompt"].is_string() => {
                Say::Json(200, engine.complete(got))
            }
            "/v1/completions" if allows.logprobs => Say::Json(200, engine.weigh(got)),
            "/v1/chat/completions" => Say::Json(200, engine.chat(got)),
            "/v1/load_lora_adapter" if allows.adapters => {
                let name = got.body["lora_name"].as_str().unwrap();
                let folder = got.body["lora_path"].as_str().unwrap();
                engine.load(name, std::path::Path::new(folder));
                Say::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nSuccess:".to_vec())
            }
            "/v1/unload_lora_adapter" => {
                engine
                    .adapters
                    .remove(got.body["lora_name"].as_str().unwrap());
                Say::Raw(b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nSuccess:".to_vec())
            }
            _ => refused(404, "Not Found"),
        }
    })
}
