//! One look after another.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::atomic_file;
use crate::digest::{Parts, json};
use crate::flow::{Decision, NextCommands, ScaledCheckpoint};
use crate::gate::select_best;
use crate::run::Interrupt;
use crate::text::all_of;
use crate::trainers::{
    CheckpointFolder, Found, Signature, TrainerState, Wholeness, find, has_ended,
};

use super::super::error::ProjectError;
use super::super::open::Project;
use super::super::order::Order;
use super::super::overrides::Overrides;
use super::best_link;
use super::error::WatchError;
use super::order::{WatchEvent, WatchOrder};
use super::post::Post;
use super::record::{Done, WatchRecord};
use super::round::{Loaded, Ready, digest_of};
use super::settled::Settled;
use super::verdict::CheckpointVerdict;

/// Looks without anything new after which a trainer that was asked to stop may have stopped.
const STILL: u32 = 10;
/// How often the wish to stop is looked for.
const GLANCE: Duration = Duration::from_millis(50);
/// Time after which it is said what a checkpoint waits for.
const SLOW: Duration = Duration::from_secs(60);

/// What a watch came to.
#[derive(Debug)]
pub struct Watched {
    /// Verdicts on what is there, and on what was judged here, run by run and step by step.
    pub judged: Vec<CheckpointVerdict>,
    /// Place in them of the best that may ship and is there.
    pub best: Option<usize>,
    /// Checkpoints without a verdict, with the reason.
    pub left: Vec<Left>,
    /// Why it ended.
    pub end: WatchEnd,
}

/// A checkpoint without a verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Left {
    /// Its folder.
    pub path: PathBuf,
    /// Why it has none.
    pub why: String,
    /// Whether it is only not whole yet.
    pub is_unfinished: bool,
}

/// Why a watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchEnd {
    /// One look was asked for.
    Once,
    /// The trainer has written its last checkpoint.
    Finished,
    /// The trainer was asked to stop, and has written nothing since.
    Stopped,
    /// Nothing new came.
    Idle,
    /// The user asked.
    Asked,
}

/// What is known of a folder that was found.
pub(super) struct Seen {
    signature: Signature,
    status: Status,
    state: TrainerState,
    /// Of the adapter that was judged.
    digest: Option<String>,
    since: Instant,
    told: bool,
}

/// Where a checkpoint is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Status {
    Writing(String),
    Ready,
    Judged,
    Refused(String),
}

/// A folder that is being watched.
pub(super) struct Watching<'a> {
    pub project: &'a Project,
    pub order: &'a WatchOrder,
    pub record: WatchRecord,
    pub loaded: Option<Loaded>,
    pub settled: BTreeMap<PathBuf, Settled>,
    pub seen: BTreeMap<PathBuf, Seen>,
    /// Whether anything was judged by this process.
    pub judged_here: bool,
    pub told_reach: bool,
    pub on_event: &'a mut dyn FnMut(WatchEvent<'_>),
    post: Option<Post>,
    /// A message that did not arrive is sent again with the next verdict.
    post_failed_at: Option<usize>,
    changed: Instant,
    started: usize,
}

impl Project {
    /// Judges each checkpoint below a folder as it is finished.
    ///
    /// # Errors
    /// The folder is not there, no base is named, another process watches it, or whatever stops a
    /// measurement; finished answers and verdicts are on disk.
    pub fn watch(
        &self,
        order: &WatchOrder,
        on_event: &mut dyn FnMut(WatchEvent<'_>),
    ) -> Result<Watched, ProjectError> {
        let post = check(order)?;
        let interrupt = self.interrupt()?.clone();
        let record = WatchRecord::open(self.store.root(), &self.watch_key(order)?, &order.folder)?;
        let mut watching = Watching {
            project: self,
            order,
            started: record.judged().len(),
            record,
            loaded: None,
            settled: BTreeMap::new(),
            seen: BTreeMap::new(),
            judged_here: false,
            told_reach: false,
            on_event,
            post,
            post_failed_at: None,
            changed: Instant::now(),
        };
        watching.begin()?;
        let end = watching.look_on(&interrupt)?;
        watching.watched(end)
    }

    /// Digest of what is watched and of all that can change a verdict.
    fn watch_key(&self, order: &WatchOrder) -> Result<String, ProjectError> {
        let folder = fs::canonicalize(&order.folder).map_err(|error| WatchError::Folder {
            path: order.folder.clone(),
            problem: error.to_string(),
        })?;
        let base = Order::new(self, &["base"])?;
        let key = Parts::new("watch")
            .part("folder", folder.as_os_str().as_encoded_bytes())
            .part("order", base.digest()?)
            .part("data", json(&self.config.data.sources))
            .finish();
        Ok(key[..24].to_owned())
    }
}

/// What can be known to be wrong before anything is looked at.
fn check(order: &WatchOrder) -> Result<Option<Post>, WatchError> {
    if let Err(error) = fs::read_dir(&order.folder) {
        return Err(WatchError::Folder {
            path: order.folder.clone(),
            problem: error.to_string(),
        });
    }
    let files = [
        ("--stop-file", &order.stop_file),
        ("--keep-best", &order.keep_best),
    ];
    for (option, path) in files {
        let Some(path) = path else { continue };
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty());
        if !parent.unwrap_or(Path::new(".")).is_dir() || path.file_name().is_none() {
            return Err(WatchError::NoFolder {
                option,
                path: path.clone(),
            });
        }
    }
    if let Some(link) = &order.keep_best {
        best_link::check(link)?;
    }
    order.post.as_deref().map(Post::new).transpose()
}

impl Watching<'_> {
    fn begin(&mut self) -> Result<(), ProjectError> {
        let preview = self.preview()?;
        (self.on_event)(WatchEvent::Begins {
            preview: &preview,
            judged: self.started,
        });
        let Some(file) = &self.order.stop_file else {
            return Ok(());
        };
        let rule = self.project.config.train.stop_on_regression;
        if rule.in_a_row().is_none() {
            self.project.notice(format!(
                "{} is never written: `stop_on_regression` under [train] is \"never\"",
                file.display()
            ));
        }
        if file.exists() {
            self.project.notice(format!(
                "{} is there already: a trainer that looks at it stops; remove it before the next run",
                file.display()
            ));
        }
        Ok(())
    }

    fn look_on(&mut self, interrupt: &Interrupt) -> Result<WatchEnd, ProjectError> {
        loop {
            let ready = {
                let _looks = interrupt.glances();
                self.look()?
            };
            if interrupt.is_set() {
                return Ok(WatchEnd::Asked);
            }
            if !ready.is_empty() {
                self.judge(ready)?;
                self.changed = Instant::now();
            }
            self.follow_up()?;
            if self.order.once {
                return Ok(WatchEnd::Once);
            }
            match self.order.until_idle {
                Some(idle) if self.changed.elapsed() >= idle => return Ok(WatchEnd::Idle),
                None if self.is_finished() => return Ok(WatchEnd::Finished),
                None if self.has_stopped() => return Ok(WatchEnd::Stopped),
                _ => {}
            }
            let _looks = interrupt.glances();
            let asleep = Instant::now();
            while asleep.elapsed() < self.order.poll {
                if interrupt.is_set() {
                    return Ok(WatchEnd::Asked);
                }
                std::thread::sleep(GLANCE.min(self.order.poll));
            }
        }
    }

    /// Looks through the folder: what is ready to be judged, in the order of judging.
    fn look(&mut self) -> Result<Vec<Ready>, ProjectError> {
        let own = self
            .order
            .folder
            .join(relative(&self.order.folder, self.project.store.root()));
        let found = match find(&self.order.folder, &[own]) {
            Ok(found) => found,
            Err(error) if self.order.once => {
                return Err(WatchError::Folder {
                    path: self.order.folder.clone(),
                    problem: error.to_string(),
                }
                .into());
            }
            // A network disk comes back.
            Err(_) => return Ok(Vec::new()),
        };
        self.tell_cut(&found);
        let mut ready = Vec::new();
        for at in &found.checkpoints {
            ready.extend(self.look_at(at)?);
        }
        let gone: Vec<PathBuf> = self
            .seen
            .keys()
            .filter(|path| found.checkpoints.iter().all(|at| at.path != **path))
            .cloned()
            .collect();
        for path in gone {
            let judged = self
                .seen
                .get(&path)
                .is_some_and(|s| s.status == Status::Judged);
            self.forget(&path, judged);
        }
        Ok(ready)
    }

    fn tell_cut(&self, found: &Found) {
        if found.cut {
            self.project.notice(format!(
                "{}: so many folders that not all are looked through; name the trainer's own",
                self.order.folder.display()
            ));
        }
    }

    fn look_at(&mut self, at: &CheckpointFolder) -> Result<Option<Ready>, ProjectError> {
        let (signature, name) = (Signature::of(&at.path), self.name_of(&at.path));
        let known = self.seen.get(&at.path);
        if let Some(seen) = known.filter(|seen| seen.signature == signature) {
            match &seen.status {
                Status::Judged | Status::Refused(_) => return Ok(None),
                Status::Writing(_) | Status::Ready => {}
            }
        }
        let moved = known.is_none_or(|seen| seen.signature != signature);
        if moved {
            self.changed = Instant::now();
        }
        let since = match known {
            Some(seen) if !moved => (seen.since, seen.told),
            _ => (Instant::now(), false),
        };
        let mut set = |status, state, digest| {
            let seen = Seen {
                signature: signature.clone(),
                status,
                state,
                digest,
                since: since.0,
                told: since.1,
            };
            self.seen.insert(at.path.clone(), seen);
        };
        match Wholeness::of(&at.path) {
            Wholeness::Gone => Ok(None),
            Wholeness::Writing(what) => {
                set(Status::Writing(what.clone()), TrainerState::default(), None);
                self.tell_slow(&at.path, &what);
                Ok(None)
            }
            Wholeness::Other(why) => {
                set(Status::Ready, TrainerState::default(), None);
                self.refuse(&at.path, why);
                Ok(None)
            }
            Wholeness::Whole(state) => {
                let Some(digest) = digest_of(&at.path) else {
                    let what = "its files cannot be read".to_owned();
                    set(Status::Writing(what), TrainerState::default(), None);
                    return Ok(None);
                };
                let digested = Some(digest.clone());
                if self.record.has(&name, &digest) {
                    set(Status::Judged, state, digested);
                    return Ok(None);
                }
                set(Status::Ready, state.clone(), digested);
                Ok(Some(Ready {
                    at: at.clone(),
                    name,
                    digest,
                    state,
                }))
            }
        }
    }

    /// Says once what a folder waits for that has not changed for a while.
    fn tell_slow(&mut self, path: &Path, what: &str) {
        if let Some(seen) = self.seen.get_mut(path)
            && !seen.told
            && seen.since.elapsed() >= SLOW
        {
            seen.told = true;
            self.project
                .notice(format!("{}: not whole yet: {what}", path.display()));
        }
    }

    pub(super) fn set_status(&mut self, path: &Path, status: Status) {
        if let Some(seen) = self.seen.get_mut(path) {
            seen.status = status;
        }
    }

    pub(super) fn refuse(&mut self, path: &Path, why: String) {
        (self.on_event)(WatchEvent::Refused { path, why: &why });
        self.set_status(path, Status::Refused(why));
    }

    /// A folder that its trainer has removed.
    pub(super) fn forget(&mut self, path: &Path, judged: bool) {
        self.seen.remove(path);
        (self.on_event)(WatchEvent::Removed { path, judged });
    }

    /// A path below the folder that is watched, with `/`.
    pub(super) fn name_of(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.order.folder).unwrap_or(path);
        let below = match below.as_os_str().is_empty() {
            true => path.file_name().map(Path::new).unwrap_or(path),
            false => below,
        };
        let parts = below.components().map(|c| c.as_os_str().to_string_lossy());
        parts.collect::<Vec<_>>().join("/")
    }

    pub(super) fn next(&self, path: &Path, model: &str) -> NextCommands {
        let overrides = Overrides {
            model: Some(model.to_owned()),
            ..self.project.overrides.clone()
        };
        let told = self.project.config.model.is_named || self.project.overrides.model.is_some();
        let options = match told {
            true => self.project.overrides.options(),
            false => overrides.options(),
        };
        let probes = self.project.overrides.probe_options();
        NextCommands::new(&path.display().to_string(), options, probes)
    }

    /// What follows from the verdicts, as far as it has not yet.
    fn follow_up(&mut self) -> Result<(), ProjectError> {
        let stop = self.stop();
        if let (Some((judgement, reason)), Some(file)) = (&stop, &self.order.stop_file)
            && !self.record.is_done(Done::Stop, judgement)
        {
            // One that is there says so already; whose it is does not matter.
            if !file.exists() {
                atomic_file::write(file, format!("{reason}\n"))?;
                (self.on_event)(WatchEvent::Stopped { file, reason });
            }
            self.record.set_done(Done::Stop, judgement)?;
        }
        self.send(stop.as_ref())?;
        self.link()
    }

    /// The newest verdict of the run that wrote last, and why its trainer should stop: as in
    /// training, when so many checkpoints in a row are proven losses.
    fn stop(&self) -> Option<(CheckpointVerdict, String)> {
        let in_a_row = self.project.config.train.stop_on_regression.in_a_row()?;
        let run = self.name_of(&self.newest_run()?);
        let mut own: Vec<&CheckpointVerdict> = Vec::new();
        for judgement in self.record.judged().iter().filter(|j| j.run == run) {
            // Of one that was rewritten the newer verdict holds.
            own.retain(|j| j.checkpoint != judgement.checkpoint);
            own.push(judgement);
        }
        own.sort_by_key(|j| j.step);
        let newest = own.get(own.len().checked_sub(in_a_row)?..)?;
        let kept = |j: &&CheckpointVerdict| j.verdict.decision != Decision::Regression;
        if newest.iter().any(kept) {
            return None;
        }
        let names: Vec<&str> = newest.iter().map(|j| j.checkpoint.as_str()).collect();
        let reason = match names.as_slice() {
            [one] => format!("{one} is a regression"),
            several => format!("{} are regressions", all_of(several)),
        };
        Some(((*newest.last()?).clone(), reason))
    }

    /// The run whose trainer wrote last, by the time of its checkpoints' last files.
    fn newest_run(&self) -> Option<PathBuf> {
        let newest = self
            .seen
            .iter()
            .max_by_key(|(_, seen)| seen.signature.last_written());
        newest.and_then(|(path, _)| Some(path.parent()?.to_path_buf()))
    }

    fn is_finished(&self) -> bool {
        let Some(run) = self.newest_run() else {
            return false;
        };
        let own = self
            .seen
            .iter()
            .filter(|(path, _)| path.parent() == Some(&run));
        let own: Vec<(&PathBuf, &Seen)> = own.collect();
        let waits = |s: &Seen| matches!(s.status, Status::Writing(_) | Status::Ready);
        !own.iter().any(|(_, seen)| waits(seen))
            && (own.iter().any(|(_, seen)| seen.state.is_last())
                || own.iter().all(|(path, _)| has_ended(&run, path)))
    }

    /// Whether a trainer that was asked to stop has done so: a program that ends at a save says
    /// nothing of it, but twice the time between two checkpoints passes without another. Whoever
    /// wrote the file: one that was there before stops a run at its first save.
    fn has_stopped(&self) -> bool {
        if !self.order.stop_file.as_ref().is_some_and(|f| f.exists()) {
            return false;
        }
        let Some(run) = self.newest_run() else {
            return false;
        };
        let own = self
            .seen
            .iter()
            .filter(|(path, _)| path.parent() == Some(&run));
        let mut times: Vec<SystemTime> = own
            .filter_map(|(_, seen)| seen.signature.last_written())
            .collect();
        if times.len() == 1 {
            // The time to the first checkpoint, at most.
            times.extend(fs::metadata(&run).and_then(|meta| meta.created()));
        }
        times.sort();
        let between = times
            .windows(2)
            .filter_map(|t| t[1].duration_since(t[0]).ok());
        between.max().is_some_and(|longest| {
            self.changed.elapsed() >= (2 * longest).max(STILL * self.order.poll)
        })
    }

    /// Sends what was not sent. One that did not arrive is sent again with the next verdict, and when
    /// the command is started again.
    fn send(&mut self, stop: Option<&(CheckpointVerdict, String)>) -> Result<(), ProjectError> {
        let Some(post) = &self.post else {
            return Ok(());
        };
        let count = self.record.judged().len();
        if self.post_failed_at == Some(count) {
            return Ok(());
        }
        let unsent = self.record.judged().iter();
        let unsent: Vec<CheckpointVerdict> = unsent
            .filter(|j| !self.record.is_done(Done::Post, j))
            .cloned()
            .collect();
        for judgement in unsent {
            let why = stop.filter(|(newest, _)| *newest == judgement);
            match post.send(&judgement, why.map(|(_, reason)| reason.as_str())) {
                Ok(()) => self.record.set_done(Done::Post, &judgement)?,
                Err(problem) => {
                    self.project.notice(format!(
                        "the verdict of {} was not sent: {problem}; it is sent with the next one",
                        judgement.checkpoint
                    ));
                    self.post_failed_at = Some(count);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn link(&mut self) -> Result<(), ProjectError> {
        let Some(link) = &self.order.keep_best else {
            return Ok(());
        };
        let there = self.there();
        match best(&there).and_then(|place| there.get(place)) {
            Some(judgement) => {
                let to = &judgement.folder;
                match best_link::point(link, to) {
                    Ok(true) => (self.on_event)(WatchEvent::Linked { link, to: Some(to) }),
                    Ok(false) => {}
                    // Removed by its trainer since it was looked at: the next look tells.
                    Err(_) if !to.is_dir() => {}
                    Err(error) => return Err(error.into()),
                }
            }
            None => {
                if best_link::remove_dead(link)? {
                    (self.on_event)(WatchEvent::Linked { link, to: None });
                }
            }
        }
        Ok(())
    }

    /// Verdicts on checkpoints that are there as they were judged, run by run and step by step.
    fn there(&self) -> Vec<CheckpointVerdict> {
        let mut there: Vec<CheckpointVerdict> = Vec::new();
        for (path, seen) in &self.seen {
            let name = self.name_of(path);
            let is_own = |j: &&CheckpointVerdict| {
                j.checkpoint == name && seen.digest.as_ref() == Some(&j.digest)
            };
            let own = self.record.judged().iter().find(is_own);
            if let Some(judgement) = own.filter(|_| seen.status == Status::Judged) {
                there.push(CheckpointVerdict {
                    folder: path.clone(),
                    ..judgement.clone()
                });
            }
        }
        there.sort_by(|a, b| (&a.run, a.step).cmp(&(&b.run, b.step)));
        there
    }

    fn watched(self, end: WatchEnd) -> Result<Watched, ProjectError> {
        let there = self.there();
        let best = best(&there).and_then(|place| there.get(place)).cloned();
        let mut judged = there;
        for judgement in &self.record.judged()[self.started..] {
            let same = |j: &CheckpointVerdict| j.checkpoint == judgement.checkpoint;
            if !judged.iter().any(same) {
                judged.push(judgement.clone());
            }
        }
        judged.sort_by(|a, b| (&a.run, a.step).cmp(&(&b.run, b.step)));
        let left: Vec<Left> = self
            .seen
            .iter()
            .filter_map(|(path, seen)| {
                let (why, is_unfinished) = match &seen.status {
                    Status::Writing(what) => (what.clone(), true),
                    Status::Ready => ("it could not be read".to_owned(), true),
                    Status::Refused(why) => (why.clone(), false),
                    Status::Judged => return None,
                };
                Some(Left {
                    path: path.clone(),
                    why,
                    is_unfinished,
                })
            })
            .collect();
        if judged.is_empty() && left.is_empty() && end == WatchEnd::Once {
            return Err(WatchError::Nothing {
                hint: hint(&self.order.folder),
                path: self.order.folder.clone(),
            }
            .into());
        }
        Ok(Watched {
            best: best.and_then(|best| judged.iter().position(|j| *j == best)),
            judged,
            left,
            end,
        })
    }
}

/// Place of the best that may ship. Steps of several runs are no order among them: their places are.
fn best(judged: &[CheckpointVerdict]) -> Option<usize> {
    let each = judged.iter().enumerate().map(|(step, judgement)| {
        let at = ScaledCheckpoint { step, scale: 1.0 };
        (at, &judgement.verdict)
    });
    select_best(&each.collect::<Vec<_>>()).map(|at| at.step)
}

fn hint(folder: &Path) -> String {
    match folder.join("adapter_config.json").is_file() {
        true => format!(
            "This is an adapter by itself: `qeval gate {}` judges it.",
            folder.display()
        ),
        false => "Without `--once` it is waited for one.".into(),
    }
}

/// Where records lie, seen from the folder that is watched; a path that is not below it is none of
/// those that are found.
fn relative(folder: &Path, records: &Path) -> PathBuf {
    let real = |path: &Path| fs::canonicalize(path).ok();
    let below = real(folder).zip(real(records));
    below
        .and_then(|(folder, records)| Some(records.strip_prefix(folder).ok()?.to_path_buf()))
        .filter(|below| !below.as_os_str().is_empty())
        .unwrap_or_else(|| PathBuf::from(".qeval"))
}
