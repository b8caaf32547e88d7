//! An order with a server in it: each subject is answered where it is, by the engine here or by a
//! server, and judged together.

use std::collections::BTreeMap;

use crate::chat::Variables;
use crate::flow::{Generation, Measurement, Subject, Suite};
use crate::lora::write_scaled;
use crate::record::{Run, SubjectSource, SubjectSpec};
use crate::run::{
    Evaluation, EvaluationConfig, Further, LoadedSubject, Questions, Rendering, RunConfig,
    RunError, Scoring, Serving, Session, asked_again, begun_served, evaluation_run, second_base,
    served_identity,
};
use crate::server::{Address, LoadedThere, Rendered, Server, ServerError};

use super::error::ProjectError;
use super::measure::{MeasuredOrder, floor};
use super::open::Project;
use super::order::Order;

/// Where adapters are written at another scale, for servers that know none; in the folder of runs.
const SCALED: &str = "scaled";

/// Who answers for one subject.
struct Answering {
    subject: Subject,
    /// `None` is the engine here.
    server: Option<Server>,
    /// Keeps an adapter on its server.
    loaded: Option<LoadedThere>,
}

impl Order {
    /// Whether a server answers for any subject.
    pub fn is_served(&self) -> bool {
        let server = |spec: &SubjectSpec| matches!(spec.source, SubjectSource::Server { .. });
        Address::is_one(&self.model) || self.subjects.iter().any(server)
    }
}

impl Project {
    /// [`Project::measure_in`] of an order with a server in it.
    pub(super) fn measure_served(
        &self,
        order: &Order,
        session: Option<Session>,
    ) -> Result<MeasuredOrder, ProjectError> {
        let section = &self.config.server;
        let rendering = self.rendering(order)?;
        if section.template == Rendered::Here && rendering.is_none() {
            return Err(ProjectError::NoTokenizer);
        }
        // An adapter that was put on a server is taken off after Ctrl-C too.
        let looks = self.interrupt()?.glances();
        let all = self.answering(order)?;
        let _looks = all.iter().any(|one| one.loaded.is_some()).then_some(looks);
        let mut session = match (session, all.iter().all(|one| one.server.is_some())) {
            (session, true) => session,
            (Some(session), false) => Some(session),
            (None, false) => Some(self.session_of(order)?),
        };
        let run = match (&mut session, &all[..]) {
            (Some(session), _) => self.run_of(order, session)?,
            (
                None,
                [
                    Answering {
                        server: Some(server),
                        ..
                    },
                    ..,
                ],
            ) => self.served_run(order, server)?,
            (None, _) => return Err(RunError::Interrupted.into()),
        };
        let session = session;
        let lock = run.lock()?;
        let scoring = self.scoring(order.training_answers.clone(), order.checks.clone())?;
        let here = Here {
            project: self,
            order,
            session: session.as_ref(),
            rendering: rendering.as_ref(),
            lock: &lock,
            scoring: &scoring,
        };
        let mut measured: Vec<Option<Measurement>> = all.iter().map(|_| None).collect();
        here.local(&all, &mut measured)?;
        for (place, one) in all.iter().enumerate() {
            if let Some(server) = &one.server {
                let (suites, seed) = (&order.suites, order.seed);
                measured[place] = Some(here.served(server, &one.subject, suites, seed)?);
            }
        }
        let mut measurements: Vec<Measurement> = measured.into_iter().flatten().collect();
        if let Some(further) = Further::of(&order.suites, &order.built, &measurements) {
            let asked = further.places().into_iter().map(|place| {
                here.again(
                    place,
                    &all[place],
                    &further.suites,
                    Further::seed(order.seed),
                )
            });
            let said = asked.collect::<Result<Vec<_>, ProjectError>>()?;
            further.join(&mut measurements, said);
        }
        let again = order
            .noise
            .then(|| asked_again(&order.suites, &order.built));
        let second = match (again.as_deref(), all.first()) {
            (Some(again @ [_, ..]), Some(base)) => Some(here.second(base, again)?),
            _ => None,
        };
        self.pass_on_notices(&scoring);
        drop(lock);
        Ok(MeasuredOrder {
            noise: floor(order, again.as_deref(), &measurements, second.as_ref()),
            measurements,
            again: second,
            session,
        })
    }

    /// Template and tokenizer of the served model, where they are named.
    fn rendering(&self, order: &Order) -> Result<Option<Rendering>, ProjectError> {
        let Some(named) = &self.config.server.tokenizer else {
            return Ok(None);
        };
        let variables = Variables::new(order.template_kwargs.clone());
        Ok(Some(Rendering::open(
            &self.config.resolve(named),
            variables,
        )?))
    }

    /// A server's model, connected to.
    ///
    /// # Errors
    /// Nobody is there, or it has no such model.
    pub(super) fn connect(&self, address: &Address) -> Result<Server, ProjectError> {
        let interrupt = self.interrupt()?;
        let _looks = interrupt.glances();
        let server = Server::connect(
            address,
            &self.config.server,
            &self.config.folder,
            self.config.train.seed,
            &|| interrupt.is_set(),
            &mut |notice| self.notice(notice),
        );
        let server = server.map_err(RunError::from)?;
        self.notice(format!("{} answers: {}", server.served, server.name()));
        Ok(server)
    }

    fn answering(&self, order: &Order) -> Result<Vec<Answering>, ProjectError> {
        let address = |text: &str| Address::parse(text).map_err(RunError::from);
        let base = match Address::is_one(&order.model) {
            true => Some(address(&order.model)?),
            false => None,
        };
        let mut known: BTreeMap<String, Server> = BTreeMap::new();
        let mut connect = |address: &Address| match known.get(&address.to_string()) {
            Some(server) => Ok::<_, ProjectError>(server.clone()),
            None => {
                let server = self.connect(address)?;
                known.insert(address.to_string(), server.clone());
                Ok(server)
            }
        };
        let mut all = Vec::new();
        for spec in &order.subjects {
            let mut subject = spec.subject()?;
            let (mut server, mut loaded) = (None, None);
            match (&spec.source, &base) {
                (SubjectSource::Server { address: written }, _) => {
                    server = Some(connect(&address(written)?)?);
                }
                (SubjectSource::Base, Some(base)) => server = Some(connect(base)?),
                (_, Some(base)) => {
                    let (there, guard) = self.put_there(connect(base)?, spec, &subject)?;
                    (server, loaded) = (Some(there), Some(guard));
                }
                (_, None) => {}
            }
            subject.server = server.as_ref().map(|server| server.served.clone());
            all.push(Answering {
                subject,
                server,
                loaded,
            });
        }
        Ok(all)
    }

    /// Puts a subject's adapter on a server. One at another scale is written there first: vLLM and
    /// SGLang apply an adapter as it is.
    fn put_there(
        &self,
        server: Server,
        spec: &SubjectSpec,
        subject: &Subject,
    ) -> Result<(Server, LoadedThere), ProjectError> {
        let folder = spec.folder().unwrap_or(std::path::Path::new(""));
        let scaled = self.store.root().join(SCALED);
        let folder = match (&subject.adapter, spec.scale) {
            (Some(adapter), scale) if scale != 1.0 => {
                let name = format!("{}@{scale}", crate::digest::short(&adapter.digest));
                let scaled = scaled.join(name);
                std::fs::create_dir_all(self.store.root().join(SCALED))
                    .map_err(crate::atomic_file::FileError::at("create", &scaled))?;
                write_scaled(folder, &scaled, scale).map_err(RunError::from)?;
                scaled
            }
            _ => folder.to_owned(),
        };
        let put = server.with_adapter(&folder);
        Ok(put.map_err(RunError::from)?)
    }

    /// The run of a base behind a server: one per base, system prompt, and variables of the template.
    fn served_run(&self, order: &Order, server: &Server) -> Result<Run, ProjectError> {
        let (system, kwargs) = (order.system.as_deref(), &order.template_kwargs);
        let identity = served_identity(server, system, kwargs);
        if let Some(run) = evaluation_run(&self.store, &identity)? {
            return Ok(run);
        }
        let config = RunConfig::Evaluation(EvaluationConfig { identity });
        let (suites, seed) = (&order.suites, order.seed);
        let provenance = begun_served("run", server, system, kwargs, suites, seed, config);
        Ok(self.store.create(None, &provenance)?)
    }
}

/// What one order is measured with.
struct Here<'a> {
    project: &'a Project,
    order: &'a Order,
    session: Option<&'a Session>,
    rendering: Option<&'a Rendering>,
    lock: &'a crate::record::RunLock,
    scoring: &'a Scoring,
}

impl Here<'_> {
    /// Has the subjects that are loaded here answer, in one batch.
    fn local(
        &self,
        all: &[Answering],
        measured: &mut [Option<Measurement>],
    ) -> Result<(), ProjectError> {
        let Some(session) = self.session else {
            return Ok(());
        };
        let (mut loaded, mut places) = (Vec::new(), Vec::new());
        for (place, (one, spec)) in all.iter().zip(&self.order.subjects).enumerate() {
            if one.server.is_none() {
                loaded.push(LoadedSubject {
                    subject: one.subject.clone(),
                    adapter: self.project.adapter(session, spec)?,
                });
                places.push(place);
            }
        }
        let all = self.evaluate(session, &self.order.suites, self.order.seed, loaded)?;
        for (place, measurement) in places.into_iter().zip(all) {
            measured[place] = Some(measurement);
        }
        Ok(())
    }

    fn evaluate(
        &self,
        session: &Session,
        suites: &[Suite],
        seed: u64,
        loaded: Vec<LoadedSubject>,
    ) -> Result<Vec<Measurement>, ProjectError> {
        if loaded.is_empty() {
            return Ok(Vec::new());
        }
        let built = &self.order.built;
        let questions = Questions::with_checks(session, suites.to_vec(), built, seed)?;
        let evaluation = Evaluation {
            asking: self.project.asking(session)?,
            questions: &questions,
            store: &self.project.store,
            run: self.lock,
            scoring: self.scoring,
        };
        Ok(evaluation.first_draws(loaded, &mut self.project.listener())?)
    }

    /// Has one subject answer behind its server.
    fn served(
        &self,
        server: &Server,
        subject: &Subject,
        suites: &[Suite],
        seed: u64,
    ) -> Result<Measurement, ProjectError> {
        let order = self.order;
        let thinking = self.project.config.model.thinking_budget.unwrap_or(0);
        let resolve = |generation: &Generation| match self.session {
            Some(session) => session.resolve(generation),
            None => Generation {
                temperature: Some(generation.temperature.unwrap_or(0.0)),
                ..generation.clone()
            },
        };
        let questions = Questions::served(suites.to_vec(), &order.built, seed, &resolve, thinking)?;
        let weighs = questions.checks.iter().any(|c| !c.continuations.is_empty());
        let weighing = match (weighs, self.rendering.is_some() || server.tokenizes()) {
            (false, _) => Err("nothing was to be weighed".to_owned()),
            (true, true) => server.weighing(),
            (true, false) => server.weighing().and(Err(
                "its token ids are not known; `tokenizer` under [server] names the model's folder"
                    .to_owned(),
            )),
        };
        if let (true, Err(why)) = (weighs, &weighing) {
            let url = &server.served.url;
            self.scoring.notice(format!(
                "{url}: `likelihood` and `choice` are not measurable there, and their probes are left \
                 out of the verdict: {why}"
            ));
        }
        let base = match self.session {
            Some(session) => Some(self.project.asking(session)?),
            None => None,
        };
        let serving = Serving {
            server: server.clone(),
            system: order.system.clone(),
            template_kwargs: order.template_kwargs.clone(),
            rendering: self.rendering,
            weighing,
            base,
            interrupt: self.project.interrupt()?,
        };
        let to = (&self.project.store, self.lock, self.scoring);
        let subject = subject.clone();
        Ok(serving.measure(subject, &questions, to, &mut self.project.listener())?)
    }

    /// Has the base answer once more, with other draws.
    fn second(&self, base: &Answering, again: &[Suite]) -> Result<Measurement, ProjectError> {
        let seed = self.order.seed.wrapping_add(1);
        let mut subject = second_base();
        subject.server.clone_from(&base.subject.server);
        self.one(base, subject, None, (again, seed))
    }

    /// Has one subject, by its place, draw further answers.
    fn again(
        &self,
        place: usize,
        asked: &Answering,
        suites: &[Suite],
        seed: u64,
    ) -> Result<Measurement, ProjectError> {
        let subject = Further::subject(&asked.subject);
        let spec = self.order.subjects.get(place);
        self.one(asked, subject, spec, (suites, seed))
    }

    /// Has one subject answer where it is, under a name of its own for what it says.
    fn one(
        &self,
        of: &Answering,
        subject: Subject,
        spec: Option<&SubjectSpec>,
        (again, seed): (&[Suite], u64),
    ) -> Result<Measurement, ProjectError> {
        match (&of.server, self.session) {
            (Some(server), _) => self.served(server, &subject, again, seed),
            (None, Some(session)) => {
                let adapter = match spec {
                    Some(spec) => self.project.adapter(session, spec)?,
                    None => None,
                };
                let loaded = LoadedSubject {
                    subject: subject.clone(),
                    adapter,
                };
                let measured = self.evaluate(session, again, seed, vec![loaded])?;
                let first = measured.into_iter().next();
                Ok(first.unwrap_or_else(|| Measurement::of(subject)))
            }
            (None, None) => Err(RunError::from(ServerError::Interrupted).into()),
        }
    }
}
