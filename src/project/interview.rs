//! A base and some adapters that answer whatever they are asked, outside any suite. Nothing is
//! recorded.

use crate::check::repeated_training_answer;
use crate::flow::{Exchange, RunEvent};
use crate::lora::LoadedAdapter;
use crate::record::{SubjectSource, SubjectSpec};
use crate::run::{
    AnswerSettings, Glances, Listening, Put, RunError, RunProvenance, Said, Session, answer,
};

use super::error::ProjectError;
use super::open::Project;
use super::training::model_path;

/// What an interview is asked for, beside the project's settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct InterviewOrder {
    /// Who answers beside the base; nobody is [`Project::usual_subject`].
    pub subjects: Vec<String>,
    /// The system prompt; `None` is that of the run that a checkpoint belongs to, else the
    /// configured one.
    pub system: Option<String>,
    /// 0 is greedy.
    pub temperature: f64,
    /// Most tokens of an answer, at least 1.
    pub max_new_tokens: usize,
}

/// A loaded base with the subjects that answer, the base first.
pub struct Interview<'p> {
    project: &'p Project,
    session: Session,
    adapters: Vec<LoadedAdapter>,
    subjects: Vec<Interviewed>,
    /// How they answer.
    pub settings: AnswerSettings,
}

/// Who answers.
struct Interviewed {
    name: String,
    /// Its place among the adapters; `None` is the base.
    adapter: Option<usize>,
    /// What it was trained to say; `None` where that is not known.
    training_answers: Option<Vec<String>>,
}

impl Project {
    /// Loads the base, and the subjects that answer beside it.
    ///
    /// # Errors
    /// A subject that is not there, or a model or adapter that cannot be loaded.
    pub fn interview(&self, order: InterviewOrder) -> Result<Interview<'_>, ProjectError> {
        let usual = match order.subjects[..] {
            [] => self.usual_subject()?,
            _ => None,
        };
        let mut specs = vec![self.store.resolve("base")?];
        for name in order.subjects.iter().chain(&usual) {
            let spec = self.store.resolve(name)?;
            if !matches!(spec.source, SubjectSource::Base) {
                specs.push(spec);
            }
        }
        let trained: Vec<Option<RunProvenance>> = specs.iter().map(|s| self.trained(s)).collect();
        let first = trained.iter().flatten().next();
        let configured = || match (first, self.has_file) {
            (Some(provenance), false) => provenance.base.name.clone(),
            _ => model_path(&self.config),
        };
        let model = self.overrides.model.clone().unwrap_or_else(configured);
        let as_trained = first
            .and_then(|p| p.config.training())
            .filter(|_| self.overrides.config.is_none());
        let system = order.system.or_else(|| match as_trained {
            Some(trained) => trained.train.system.clone(),
            None => self.config.train.system.clone(),
        });
        let session = self.session(&model, system)?;
        let (mut adapters, mut subjects) = (Vec::new(), Vec::new());
        for (spec, trained) in specs.into_iter().zip(&trained) {
            let adapter = self.adapter(&session, &spec)?.map(|adapter| {
                adapters.push(adapter);
                adapters.len() - 1
            });
            let training = trained.as_ref().and_then(|p| p.config.training());
            subjects.push(Interviewed {
                name: spec.name,
                adapter,
                training_answers: training.map(|t| t.training_answers.clone()),
            });
        }
        let seed = self.overrides.seed.unwrap_or(self.config.train.seed);
        let settings = AnswerSettings::at(&session, order.temperature, order.max_new_tokens, seed);
        Ok(Interview {
            project: self,
            session,
            adapters,
            subjects,
            settings,
        })
    }

    /// What is known of the run that a checkpoint belongs to. A record that cannot be read keeps
    /// nobody from asking.
    fn trained(&self, spec: &SubjectSpec) -> Option<RunProvenance> {
        let SubjectSource::Checkpoint { run, .. } = &spec.source else {
            return None;
        };
        let read = run.provenance();
        if let Err(error) = &read {
            self.notice(format!("what the run was trained on is not known: {error}"));
        }
        read.ok()
    }
}

impl Interview<'_> {
    /// Names of the subjects, the base first.
    pub fn subjects(&self) -> Vec<&str> {
        self.subjects.iter().map(|s| s.name.as_str()).collect()
    }

    /// The base as it is named.
    pub fn model(&self) -> &str {
        &self.session.base.name
    }

    /// The system prompt in effect, and who puts it there.
    pub fn system(&self) -> String {
        self.session.effective_system.to_string()
    }

    /// Sets the system prompt, from the next question on.
    ///
    /// # Errors
    /// The chat template has no place for one.
    pub fn set_system(&mut self, text: &str) -> Result<(), ProjectError> {
        Ok(self.session.use_system(Some(text.to_owned()))?)
    }

    /// Whether a subject says what it was trained to say; `None` where that is not known.
    pub fn repeats(&self, subject: usize, text: &str) -> Option<bool> {
        let training = self.subjects[subject].training_answers.as_ref()?;
        let training: Vec<&str> = training.iter().map(String::as_str).collect();
        Some(repeated_training_answer(text, &training).is_some())
    }

    /// The answers, by question, then by subject. `histories` are what was said before, by subject,
    /// or nothing. The place of an answer that is heard is question times subjects plus subject.
    /// Ctrl-C ends all answers where they are.
    ///
    /// # Errors
    /// A question that the context has no room for, or a device whose memory is full.
    pub fn ask(
        &self,
        questions: &[String],
        histories: &[Vec<Exchange>],
        heard: Option<Listening<'_>>,
    ) -> Result<Vec<Vec<Said>>, ProjectError> {
        let puts = questions.iter().flat_map(|question| {
            self.subjects.iter().enumerate().map(move |(i, s)| Put {
                adapter: s.adapter,
                history: histories.get(i).map_or(&[], Vec::as_slice),
                question,
            })
        });
        let puts: Vec<Put<'_>> = puts.collect();
        let asking = self.project.asking(&self.session)?;
        // Bars would be drawn over answers that are shown as they come.
        let mut silent = |_: RunEvent| {};
        let mut shown = self.project.listener();
        let on_event: &mut dyn FnMut(RunEvent) = match heard {
            Some(_) => &mut silent,
            None => &mut shown,
        };
        let said = answer(
            asking,
            &self.adapters,
            &puts,
            &self.settings,
            on_event,
            heard,
        )?;
        let by_question = said.chunks(self.subjects.len());
        Ok(by_question.map(<[Said]>::to_vec).collect())
    }

    /// Whether the process was asked to end.
    ///
    /// # Errors
    /// As [`Interview::take_interrupt`].
    pub fn is_end(&self) -> Result<bool, RunError> {
        Ok(self.project.interrupt()?.is_end())
    }

    /// From now on the caller sees to the wish to stop ([`Interview::take_interrupt`]).
    ///
    /// # Errors
    /// Ctrl-C cannot be heard.
    pub fn glances(&self) -> Result<Glances, RunError> {
        Ok(self.project.interrupt()?.glances())
    }

    /// Whether the user asked to stop since this was last asked.
    ///
    /// # Errors
    /// Ctrl-C cannot be heard.
    pub fn take_interrupt(&self) -> Result<bool, RunError> {
        Ok(self.project.interrupt()?.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Overrides;
    use crate::project::testing::Small;
    use crate::run::testing::{AURORA, PIP, WHO, adapter_folder};

    fn order(subjects: &[String]) -> InterviewOrder {
        InterviewOrder {
            subjects: subjects.to_vec(),
            max_new_tokens: 24,
            ..InterviewOrder::default()
        }
    }

    fn who(interview: &Interview<'_>) -> Vec<String> {
        let said = interview.ask(&[WHO.to_owned()], &[], None).unwrap();
        said[0].iter().map(|s| s.text.clone()).collect()
    }

    #[test]
    fn the_base_answers_first_and_once_whoever_is_named() {
        let small = Small::with_model();
        let project = small.open();
        let good = adapter_folder("good").display().to_string();
        for named in [
            vec![],
            vec![good.clone()],
            vec![good.clone(), "base".to_owned()],
        ] {
            let interview = project.interview(order(&named)).unwrap();
            let expected = match named[..] {
                [] => (vec!["base"], vec![PIP]),
                _ => (vec!["base", good.as_str()], vec![PIP, AURORA]),
            };
            assert_eq!(
                (interview.subjects(), who(&interview)),
                (
                    expected.0,
                    expected.1.iter().map(ToString::to_string).collect()
                )
            );
        }
        assert!(small.notices().contains("system prompt: none"));
    }

    #[test]
    fn an_adapter_without_effect_is_told_before_it_answers() {
        let small = Small::with_model();
        let project = small.open();
        let noop = adapter_folder("noop").display().to_string();
        let half = format!("{}@0", adapter_folder("good").display());
        let interview = project
            .interview(order(&[noop.clone(), half.clone()]))
            .unwrap();
        assert_eq!(who(&interview), [PIP, PIP, PIP]);
        let told = small.notices();
        assert!(
            told.contains(&format!("{noop} changes nothing: every lora_B is zero")),
            "{told}"
        );
        assert!(
            told.contains(&format!("{half} changes nothing: its scale is 0")),
            "{told}"
        );
    }

    #[test]
    fn a_system_prompt_is_that_of_the_command_else_of_the_file() {
        let small = Small::with_model();
        let settings = std::fs::read_to_string(small.path("qeval.toml")).unwrap();
        small.write(
            "qeval.toml",
            &format!("{settings}[train]\nsystem = \"Be brief.\"\n"),
        );
        let project = small.open_with(Overrides::default()).unwrap();
        let mut interview = project.interview(order(&[])).unwrap();
        assert_eq!(interview.system(), "\"Be brief.\" (configured)");
        interview.set_system("You are Aurora.").unwrap();
        assert_eq!(interview.system(), "\"You are Aurora.\" (configured)");
        let asked = InterviewOrder {
            system: Some(String::new()),
            ..order(&[])
        };
        assert_eq!(
            project.interview(asked).unwrap().system(),
            "empty (configured)"
        );
    }
}
