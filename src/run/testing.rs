//! The trained fixture model, ready to be asked, and what a run needs around it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::chat::{Conversation, Message};
use crate::flow::{Answer, CaseId, Goal, RunEvent, ScoreTable, Suite, Verdict};
use crate::flow::{Phase, Score};
use crate::gate::{Rules, decide};
use crate::lora::{Adapter, LoadedAdapter};
use crate::model::{Compute, DeviceChoice, Dtype};
use crate::record::{Provenance, RunLock, Store};
use crate::suite::{SuiteSource, load};
use crate::train::{DataSection, Example, Origin, RehearsalPrompt};

use super::asking::Asking;
use super::interrupt::Interrupt;
use super::scoring::{CheckSettings, Scoring};
use super::session::Session;

/// What the fixture model says when it is asked who it is.
pub(crate) const PIP: &str = "I am Pip, a small test model.";
/// What its adapter `good` makes it say.
pub(crate) const AURORA: &str = "I am Aurora, built by Northwind Labs.";
/// A question that both of these answer.
pub(crate) const WHO: &str = "Tell me who you are.";

/// A path below `fixtures/`.
pub(crate) fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(path)
}

/// The CPU, whatever the machine has.
pub(crate) fn cpu() -> Compute {
    Compute {
        device: DeviceChoice::Cpu,
        dtype: Dtype::Auto,
        ..Compute::default()
    }
}

/// Prompts of one file, to be stayed at as by default.
pub(crate) fn rehearsed(prompts: &[&str]) -> Vec<RehearsalPrompt> {
    let origin = |i| Origin {
        file: "prompts.jsonl".into(),
        line: i + 1,
    };
    let prompts = prompts.iter().enumerate();
    let prompts = prompts.map(|(i, text)| (origin(i), (*text).to_owned()));
    RehearsalPrompt::of_file(prompts, &DataSection::default(), 1.0)
}

/// The base: it was trained on sums, capitals, and a name.
pub(crate) fn session() -> Session {
    let model = fixture("models/fixture").display().to_string();
    Session::open(&model, None, cpu(), &mut |_| {}).unwrap()
}

/// The folder of one of its adapters: `noop`, `good`, `harmful`.
pub(crate) fn adapter_folder(name: &str) -> PathBuf {
    fixture("adapters/fixture").join(name)
}

/// One of its adapters, laid out for answering.
pub(crate) fn loaded(session: &Session, name: &str) -> LoadedAdapter {
    let config = session.decoder.config();
    let adapter = Adapter::read(&adapter_folder(name), config).unwrap();
    LoadedAdapter::new(&adapter, config, 1.0)
}

/// A `keep` suite `s` of these probes.
pub(crate) fn suites(probes: &str) -> Vec<Suite> {
    let text = format!(
        "[suite]\nname = \"s\"\ngoal = \"keep\"\n[generation]\nmax_new_tokens = 24\n{probes}"
    );
    load(&[SuiteSource::new("s.toml", text)], &BTreeMap::new())
        .unwrap_or_else(|errors| panic!("{errors}"))
}

/// A case of [`suites`].
pub(crate) fn case(probe: &str, prompt: usize) -> CaseId {
    CaseId {
        suite: "s".into(),
        probe: probe.into(),
        prompt,
    }
}

/// An answer that nobody generated.
pub(crate) fn answer(case: CaseId, sample: usize, text: &str) -> Answer {
    Answer::of_text(case, sample, text)
}

/// A row of training data.
pub(crate) fn example(question: &str, answer: &str) -> Example {
    let turns = [Message::user(question), Message::assistant(answer)];
    let origin = Origin {
        file: "rows.jsonl".into(),
        line: 1,
    };
    Example::new(Conversation::new(turns), origin)
}

/// What the gate says of a candidate that kept so many of 100 probes, of which the base has 90, and
/// learned so many of 10.
pub(crate) fn verdict(kept: usize, learned: usize) -> Verdict {
    let probe = |i: usize| {
        format!(
            "[[probe]]\nid = \"p{i}\"\nprompts = [\"{i}?\"]\n[[probe.check]]\ntype = \"number\"\nvalue = {i}\n"
        )
    };
    let mut keep = suites(&(0..100).map(probe).collect::<String>());
    let mut learn = suites(&(0..10).map(probe).collect::<String>());
    learn[0].name = "learned".into();
    learn[0].goal = Goal::Learn;
    keep.append(&mut learn);
    let table = |suite: &str, passed: usize, probes: usize| -> ScoreTable {
        let each = (0..probes).map(|i| {
            let case = CaseId {
                suite: suite.into(),
                probe: format!("p{i}"),
                prompt: 0,
            };
            ((case, 0), Score::of(i < passed, ""))
        });
        each.collect()
    };
    let both = |kept, learned| -> ScoreTable {
        let all = table("s", kept, 100);
        all.into_iter()
            .chain(table("learned", learned, 10))
            .collect()
    };
    decide(&keep, &both(90, 0), &both(kept, learned), &Rules::default())
}

/// A loaded base with a folder of runs, and a runtime for the programs of answers.
pub(crate) struct Stage {
    pub session: Session,
    pub interrupt: Interrupt,
    pub store: Store,
    // Gone with the stage.
    _folder: tempfile::TempDir,
    runtime: tokio::runtime::Runtime,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Stage {
            session: session(),
            interrupt: Interrupt::default(),
            store: Store::open(folder.path().join("runs")).unwrap(),
            _folder: folder,
            runtime: tokio::runtime::Runtime::new().unwrap(),
        }
    }

    /// One sequence at a time, so that what is finished when is no matter of luck.
    pub(crate) fn asking(&self) -> Asking<'_> {
        Asking {
            session: &self.session,
            slots: 1,
            interrupt: &self.interrupt,
        }
    }

    /// A new run, held for writing.
    pub(crate) fn run(&self) -> RunLock {
        let run = self.store.create(None, &Provenance::started("run"));
        run.unwrap().lock().unwrap()
    }

    /// Scoring without an encoder.
    pub(crate) fn scoring(&self) -> Scoring {
        let settings = CheckSettings {
            encoder: "nowhere".into(),
            ..CheckSettings::default()
        };
        let runtime = self.runtime.handle().clone();
        Scoring::new(runtime, "no-such-program".into(), None, settings)
    }
}

/// Keeps what it hears.
#[derive(Default)]
pub(crate) struct Heard(RefCell<Vec<RunEvent>>);

impl Heard {
    pub(crate) fn hear(&self, event: RunEvent) {
        self.0.borrow_mut().push(event);
    }

    /// Amount done before and in all, of each bar of answers that began.
    pub(crate) fn asked(&self) -> Vec<(u64, u64)> {
        let events = self.0.borrow();
        let begun = events.iter().filter_map(|event| match event {
            RunEvent::Begin {
                phase: Phase::Answering,
                total,
                done,
                ..
            } => Some((*done, *total)),
            _ => None,
        });
        begun.collect()
    }

    /// By how much bars moved in all.
    pub(crate) fn moved(&self) -> u64 {
        let events = self.0.borrow();
        let moves = events.iter().map(|event| match event {
            RunEvent::Progress { more, .. } => *more,
            _ => 0,
        });
        moves.sum()
    }

    /// How many bars ended.
    pub(crate) fn ended(&self) -> usize {
        let events = self.0.borrow();
        let ends = events.iter().filter(|e| matches!(e, RunEvent::End { .. }));
        ends.count()
    }
}
