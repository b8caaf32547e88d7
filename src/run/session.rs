//! A base model that is loaded and ready: decoder, tokenizer, chat template, system prompt.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crate::chat::{
    ChatError, ChatTemplate, Conversation, EffectiveSystem, Message, Thinking, Tokenizer,
};
use crate::digest;
use crate::flow::{Exchange, Generation, Phase, RunEvent};
use crate::generate::{EngineOptions, Sampling};
use crate::hub::{self, ModelPath};
use crate::lora::TrainedOn;
use crate::model::{Compute, GenerationDefaults, Matrices, Model, ModelFiles, Storage};
use crate::record::BaseProvenance;
use crate::server::Address;

use super::error::RunError;
use super::findings;
use super::prompting::Prompting;
use super::rendering::speech_of;
use super::room::{self, Demand};

/// A loaded base.
pub struct Session {
    /// The model.
    pub decoder: Model,
    /// The same on other devices of its kind, which share the answers.
    pub copies: Vec<Model>,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its chat template.
    pub template: ChatTemplate,
    /// The configured system prompt; `None` leaves it to the template.
    pub system: Option<String>,
    /// What a conversation without a system turn of its own gets.
    pub effective_system: EffectiveSystem,
    /// Names and digests.
    pub base: BaseProvenance,
    /// The model's repository on the hub, when it is known.
    pub hub_id: Option<String>,
    /// Ids that end a turn: those of the model's files, and what the template writes there.
    pub end_of_turn: Vec<u32>,
    /// The one of them that the template adds, where the files do not name it.
    pub template_end: Option<u32>,
    /// How the model thinks, if it does.
    pub thinking: Thinking,
    /// Most tokens of thinking as configured; `None` is [`USUAL_THINKING`](super::USUAL_THINKING)
    /// where a model thinks.
    pub thinking_budget: Option<usize>,
    /// The folder or GGUF file.
    pub path: PathBuf,
    /// Names that the base is known under, for adapters that say what they were trained on.
    pub known_as: Vec<String>,
    /// Ids from here on stand for no token.
    pub usable_vocab: usize,
    /// How the model's authors want it sampled.
    pub generation: GenerationDefaults,
    /// What the user should read before trusting the model.
    pub notices: Vec<String>,
    /// How its matrices are held.
    storage: Storage,
    /// Its files, opened when a tensor is first looked at as it is stored.
    files: OnceLock<Option<ModelFiles>>,
}

impl Session {
    /// Finds, fetches if need be, and loads a base: a folder, a GGUF file, a hub id, or a
    /// built-in name.
    ///
    /// # Errors
    /// It cannot be found, fetched, or loaded, or has no chat template.
    pub fn open(
        model: &str,
        system: Option<String>,
        compute: Compute,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Self, RunError> {
        let prompting = Prompting::with_system(system);
        Self::open_for(model, prompting, compute, Demand::default(), on_event)
    }

    /// As [`Session::open`], with what will be asked of it, so that memory is known to do.
    ///
    /// # Errors
    /// As there, and a model that takes more memory than there is.
    pub fn open_for(
        model: &str,
        prompting: Prompting,
        compute: Compute,
        demand: Demand<'_>,
        on_event: &mut dyn FnMut(RunEvent),
    ) -> Result<Self, RunError> {
        let Prompting {
            system,
            variables,
            thinking_budget,
        } = prompting;
        if Address::is_one(model) {
            let model = model.to_owned();
            return Err(RunError::NotLoadedHere { model });
        }
        let ModelPath {
            path,
            hub_id,
            notice,
        } = fetch(model, on_event)?;
        let mut files = ModelFiles::open(&path)?;
        files.notices.splice(0..0, notice);
        let (template, tokenizer, ends) = speech_of(&path, &mut files, variables.clone())?;
        let tokenizer = tokenizer.with_end_of_turn(ends.ids.iter().copied())?;
        files.notices.extend(ends.notice);
        let effective_system = template.effective_system(system.as_deref())?;
        files.weights.hold(compute.storage)?;
        if compute.storage == Storage::Nf4 {
            // Another base than the one that the files hold.
            files.digest = digest::Parts::new("base")
                .part("files", &files.digest)
                .part("held as", "nf4")
                .finish();
        }
        let (first, others) = compute.device.apart();
        let on = |device| Compute { device, ..compute };
        let (decoder, passed_over) = load(&mut files, model, on(first), demand, on_event)?;
        files.notices.extend(passed_over);
        let mut copies = Vec::new();
        for device in others {
            let answers = Demand {
                training: None,
                ..demand
            };
            let (copy, _) = load(&mut files, model, on(device), answers, on_event)?;
            let names = [&decoder, &copy].map(|model| model.as_ref().device_name());
            if names[0] != names[1] {
                let [one, other] = names;
                return Err(RunError::UnlikeDevices { one, other });
            }
            copies.push(copy);
        }
        let hub_name = hub_id.clone();
        Ok(Session {
            decoder,
            copies,
            hub_id,
            system,
            effective_system,
            base: BaseProvenance {
                name: model.to_owned(),
                digest: files.digest,
                tokenizer: files.tokenizer_digest,
                template: digest::bytes(template.source()),
                template_kwargs: variables.into_map(),
            },
            known_as: findings::names(model, &path, hub_name, files.own_names),
            path,
            thinking: Thinking::of(&template, &tokenizer),
            thinking_budget,
            template,
            tokenizer,
            end_of_turn: ends.ids,
            template_end: ends.of_template,
            usable_vocab: files.usable_vocab,
            generation: files.generation,
            notices: files.notices,
            storage: compute.storage,
            files: OnceLock::new(),
        })
    }

    /// Renders prompts as at a given moment, in seconds since 1970: a run keeps its own, whatever
    /// day it goes on. Returns whether the template prints a date at all.
    ///
    /// # Errors
    /// The template refuses to be rendered.
    pub fn keep_moment(&mut self, moment: u64) -> Result<bool, RunError> {
        if !self.template.prints_date() {
            return Ok(false);
        }
        self.template = self.template.at(moment)?;
        self.effective_system = self.template.effective_system(self.system.as_deref())?;
        Ok(true)
    }

    /// Sets the configured system prompt; `None` leaves it to the template.
    ///
    /// # Errors
    /// The template has no place for one; nothing is changed then.
    pub fn use_system(&mut self, system: Option<String>) -> Result<(), RunError> {
        self.effective_system = self.template.effective_system(system.as_deref())?;
        self.system = system;
        Ok(())
    }

    /// What identifies the prompts of this session whatever the date: the effective system prompt,
    /// rendered on the first day of 1970 where the template prints one.
    ///
    /// # Errors
    /// The template refuses to be rendered.
    pub fn dateless_system(&self) -> Result<String, RunError> {
        if !self.template.prints_date() {
            return Ok(self.effective_system.text.clone());
        }
        let template = self.template.at(0)?;
        Ok(template.effective_system(self.system.as_deref())?.text)
    }

    /// How an engine over this base runs, with so many sequences at once; 0 suits the device.
    pub fn engine_options(&self, slots: usize) -> EngineOptions {
        EngineOptions::new(slots, self.end_of_turn.clone(), self.usable_vocab)
    }

    /// Token ids of a question as the model is asked it, after the exchanges of `history`.
    /// `system` of a probe goes before the configured one.
    ///
    /// # Errors
    /// The template refuses the conversation.
    pub fn prompt(
        &self,
        system: Option<&str>,
        history: &[Exchange],
        question: &str,
    ) -> Result<Arc<[u32]>, RunError> {
        let conversation = self.conversation(system, history, question);
        let text = self.template.render(&conversation, true)?;
        let ids = self.tokenizer.encode(&text)?;
        if ids.is_empty() {
            // Engines begin with a token.
            return Err(ChatError::QuestionIgnored { written: text }.into());
        }
        Ok(ids.into())
    }

    /// The turns of a question after the exchanges of `history`.
    pub(super) fn conversation(
        &self,
        system: Option<&str>,
        history: &[Exchange],
        question: &str,
    ) -> Conversation {
        let mut conversation = Conversation::prompt(system.or(self.system.as_deref()), question);
        let turns = history.iter().flat_map(|exchange| {
            [
                Message::user(&exchange.user),
                Message::assistant(&exchange.assistant),
            ]
        });
        let before_question = conversation.messages.len().saturating_sub(1);
        conversation
            .messages
            .splice(before_question..before_question, turns);
        conversation
    }

    /// A probe's generation with every default filled in: the probe's, else the model's, else
    /// greedy.
    pub fn resolve(&self, generation: &Generation) -> Generation {
        let defaults = &self.generation;
        let usual = if defaults.do_sample {
            defaults.temperature.unwrap_or(1.0)
        } else {
            0.0
        };
        Generation {
            max_new_tokens: generation.max_new_tokens,
            samples: generation.samples,
            temperature: Some(generation.temperature.unwrap_or(usual)),
            top_k: Some(generation.top_k.or(defaults.top_k).unwrap_or(0)),
            top_p: Some(generation.top_p.or(defaults.top_p).unwrap_or(1.0)),
            repetition_penalty: Some(
                generation
                    .repetition_penalty
                    .or(defaults.repetition_penalty)
                    .unwrap_or(1.0),
            ),
        }
    }

    /// A tensor of the base as it is held, for comparison; `None` where it is not there in this shape,
    /// or cannot be read.
    pub fn stored(&self, name: &str, shape: &[usize]) -> Option<Vec<f32>> {
        let open = || {
            let mut files = ModelFiles::open(&self.path).ok()?;
            files.weights.hold(self.storage).ok()?;
            Some(files)
        };
        let files = self.files.get_or_init(open);
        let files = files.as_ref()?;
        // A head that is the embedding is stored once.
        let tied = name == "lm_head.weight" && files.config.tie_word_embeddings;
        let name = if tied {
            "model.embed_tokens.weight"
        } else {
            name
        };
        files.weights.get(name, shape).ok()
    }

    /// What an adapter trained here says of its base.
    pub fn trained_on(&self) -> TrainedOn {
        TrainedOn::new(self.base.digest.clone(), self.base.name.clone())
    }

    /// What the numbers depend on besides model and prompts: bits are promised on one machine and
    /// build.
    pub fn engine_name(&self) -> String {
        let device = self.decoder.as_ref().device_name();
        let name = format!("qeval {} {device}", env!("CARGO_PKG_VERSION"));
        // Versions that did not stop there have other answers.
        let end = self.template_end.and_then(|id| self.tokenizer.token_of(id));
        match end {
            Some(end) => format!("{name}, stopping at {end}"),
            None => name,
        }
    }
}

/// A resolved generation as the sampler takes it.
pub(super) fn sampling(generation: &Generation) -> Sampling {
    let usual = Sampling::default();
    Sampling {
        temperature: generation
            .temperature
            .map_or(usual.temperature, |x| x as f32),
        top_k: generation.top_k.unwrap_or(usual.top_k),
        top_p: generation.top_p.map_or(usual.top_p, |x| x as f32),
        repetition_penalty: generation
            .repetition_penalty
            .map_or(usual.repetition_penalty, |x| x as f32),
    }
}

fn fetch(model: &str, on_event: &mut dyn FnMut(RunEvent)) -> Result<ModelPath, RunError> {
    let (phase, mut begun, mut before) = (Phase::Downloading, false, 0);
    let path = hub::resolve(model, &mut |done, total| {
        if !begun {
            begun = true;
            on_event(RunEvent::Begin {
                phase,
                total: total.unwrap_or(0),
                done: 0,
                label: model.to_owned(),
            });
        }
        on_event(RunEvent::Progress {
            phase,
            more: done.saturating_sub(before),
            tokens: 0,
            note: None,
        });
        before = done;
    })?;
    if begun {
        on_event(RunEvent::End { phase });
    }
    Ok(path)
}

fn load(
    files: &mut ModelFiles,
    model: &str,
    compute: Compute,
    demand: Demand<'_>,
    on_event: &mut dyn FnMut(RunEvent),
) -> Result<(Model, Option<String>), RunError> {
    let phase = Phase::Loading;
    on_event(RunEvent::Begin {
        phase,
        total: files.weights.stored_bytes(),
        done: 0,
        label: model.to_owned(),
    });
    let (sender, receiver) = std::sync::mpsc::channel();
    let progress = sender.clone();
    files.weights.on_progress(move |more| {
        // The receiver outlives the load; without it there is no one to tell.
        let _ = progress.send(RunEvent::Progress {
            phase,
            more,
            tokens: 0,
            note: None,
        });
    });
    let (config, weights) = (&files.config, &files.weights);
    let may_load = |place| {
        let notice = room::may_load(
            model,
            (config, Matrices::Of(weights)),
            compute,
            demand,
            place,
        )?;
        if let Some(notice) = notice {
            let _ = sender.send(RunEvent::Notice(notice));
        }
        Ok(())
    };
    let decoder = std::thread::scope(|scope| {
        let loading = scope.spawn(|| Model::load(compute, config, weights, &may_load));
        while !loading.is_finished() {
            while let Ok(event) = receiver.recv_timeout(std::time::Duration::from_millis(50)) {
                on_event(event);
            }
        }
        loading.join()
    });
    receiver.try_iter().for_each(&mut *on_event);
    on_event(RunEvent::End { phase });
    match decoder {
        Ok(decoder) => Ok(decoder?),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::testing::session;

    /// A base whose template begins with the time of day, as of 1970.
    fn with_a_clock() -> Session {
        let mut session = session();
        let clock = "{{ '<|im_start|>system\\n' + strftime_now('%T') + '<|im_end|>\\n' }}";
        let source = format!("{clock}{}", session.template.source());
        session.template = ChatTemplate::new_at(&source, Default::default(), 0).unwrap();
        session.effective_system = session.template.effective_system(None).unwrap();
        session
    }

    fn asked(session: &Session) -> Arc<[u32]> {
        session.prompt(None, &[], "Hello?").unwrap()
    }

    fn text(session: &Session, ids: &[u32]) -> String {
        session.tokenizer.decode(ids).unwrap()
    }

    #[test]
    fn a_prompt_is_rendered_as_at_the_moment_that_is_kept() {
        let mut session = with_a_clock();
        let first = asked(&session);
        assert!(session.keep_moment(3661).unwrap(), "it prints the time");
        let later = asked(&session);
        assert_ne!(later, first);
        assert!(
            text(&session, &later).contains("01:01:01"),
            "{}",
            text(&session, &later)
        );
        assert!(session.effective_system.preamble.contains("01:01:01"));
        assert!(session.keep_moment(0).unwrap());
        assert_eq!(asked(&session), first);
    }

    #[test]
    fn a_template_without_a_date_has_no_moment_to_keep() {
        let mut session = session();
        let (before, moment) = (asked(&session), session.template.moment());
        assert!(!session.keep_moment(3661).unwrap());
        assert_eq!(
            (asked(&session), session.template.moment()),
            (before, moment)
        );
    }

    #[test]
    fn what_identifies_the_prompts_is_the_same_every_day() {
        let mut session = with_a_clock();
        let first = session.dateless_system().unwrap();
        session.keep_moment(86_400 * 365 + 7).unwrap();
        assert_eq!(session.dateless_system().unwrap(), first);
        session.system = Some("You are Aurora.".into());
        assert_ne!(
            session.dateless_system().unwrap(),
            first,
            "another system prompt"
        );
    }

    fn unset() -> Generation {
        Generation {
            max_new_tokens: 9,
            samples: 2,
            temperature: None,
            top_k: None,
            top_p: None,
            repetition_penalty: None,
        }
    }

    #[test]
    fn a_probe_decides_then_the_model_then_greedy() {
        let mut session = session();
        let resolved = session.resolve(&unset());
        let usual = (Some(0.0), Some(0), Some(1.0), Some(1.0));
        let of = |g: &Generation| (g.temperature, g.top_k, g.top_p, g.repetition_penalty);
        assert_eq!(of(&resolved), usual, "nothing is left open");
        assert_eq!((resolved.max_new_tokens, resolved.samples), (9, 2));
        session.generation = GenerationDefaults {
            do_sample: true,
            temperature: Some(0.6),
            top_k: Some(20),
            top_p: Some(0.9),
            repetition_penalty: Some(1.1),
            ..session.generation
        };
        let models = session.resolve(&unset());
        assert_eq!(of(&models), (Some(0.6), Some(20), Some(0.9), Some(1.1)));
        let own = Generation {
            temperature: Some(0.0),
            top_k: Some(0),
            ..unset()
        };
        let own = session.resolve(&own);
        assert_eq!(of(&own), (Some(0.0), Some(0), Some(0.9), Some(1.1)));
    }

    /// transformers ignores the temperature of a model that says `do_sample: false`.
    #[test]
    fn a_temperature_without_do_sample_draws_nothing() {
        let mut session = session();
        session.generation.temperature = Some(0.6);
        session.generation.do_sample = false;
        assert_eq!(session.resolve(&unset()).temperature, Some(0.0));
        session.generation.temperature = None;
        session.generation.do_sample = true;
        assert_eq!(session.resolve(&unset()).temperature, Some(1.0));
    }

    #[test]
    fn a_sampler_gets_what_was_resolved() {
        let resolved = Generation {
            temperature: Some(0.5),
            top_k: Some(7),
            top_p: Some(0.75),
            repetition_penalty: Some(1.25),
            ..unset()
        };
        let sampling = sampling(&resolved);
        assert_eq!((sampling.temperature, sampling.top_k), (0.5, 7));
        assert_eq!((sampling.top_p, sampling.repetition_penalty), (0.75, 1.25));
    }

    #[test]
    fn exchanges_stand_between_the_system_prompt_and_the_question() {
        let mut session = session();
        session.system = Some("Be brief.".into());
        let history = [Exchange {
            user: "Hello?".into(),
            assistant: "Hi.".into(),
        }];
        let whole = |system| {
            let conversation = [
                Message::system(system),
                Message::user("Hello?"),
                Message::assistant("Hi."),
                Message::user("Who?"),
            ];
            let text = session
                .template
                .render(&Conversation::new(conversation), true);
            session.tokenizer.encode(&text.unwrap()).unwrap()
        };
        let asked = |system| session.prompt(system, &history, "Who?").unwrap().to_vec();
        assert_eq!(asked(None), whole("Be brief."));
        assert_eq!(
            asked(Some("Be long.")),
            whole("Be long."),
            "a probe's own goes before"
        );
    }

    #[test]
    fn a_model_without_a_template_names_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(crate::run::testing::fixture("models/fixture")).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "tokenizer_config.json" {
                std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
            }
        }
        let model = folder.path().display().to_string();
        let opened = Session::open(&model, None, crate::run::testing::cpu(), &mut |_| {});
        assert!(matches!(opened, Err(RunError::NoTemplate { path }) if path == folder.path()));
    }
}
