//! Progress bars on stderr, drawn from what a run says of itself.
//!
//! Bars are shown on a terminal only and never with `--quiet`; notices are shown without a
//! terminal too, as plain lines. Results go to stdout through [`Progress::suspend`], which clears
//! the bars first, so that a table is never torn by one.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::flow::{Phase, RunEvent};
use crate::text::{display_width, ellipsize, harmless};

/// How often the clock of a bar moves on while nothing finishes.
const TICK: Duration = Duration::from_millis(500);
/// Redraws per second at most.
const REDRAWS_HZ: u8 = 5;

/// The progress bars of a command. Hears events from any thread.
#[derive(Debug)]
pub struct Progress {
    bars: MultiProgress,
    running: Mutex<Vec<Running>>,
    notices: bool,
    /// Columns of the terminal, asked at every step: windows are made wider and narrower.
    columns: fn() -> usize,
}

#[derive(Debug)]
struct Running {
    phase: Phase,
    bar: ProgressBar,
    began: Instant,
    /// Amount done by this process.
    here: u64,
    tokens: u64,
    note: String,
    columns: fn() -> usize,
}

impl Progress {
    /// Bars on stderr if it is a terminal; nothing at all with `quiet`.
    pub fn new(quiet: bool) -> Self {
        let target = match io::stderr().is_terminal() && !quiet {
            true => ProgressDrawTarget::stderr_with_hz(REDRAWS_HZ),
            false => ProgressDrawTarget::hidden(),
        };
        let columns = || usize::from(console::Term::stderr().size().1);
        Self::on(target, !quiet, columns)
    }

    fn on(target: ProgressDrawTarget, notices: bool, columns: fn() -> usize) -> Self {
        let bars = MultiProgress::with_draw_target(target);
        Progress {
            bars,
            running: Mutex::default(),
            notices,
            columns,
        }
    }

    /// Takes an event in and redraws.
    pub fn hear(&self, event: &RunEvent) {
        match event {
            RunEvent::Begin {
                phase,
                total,
                done,
                label,
            } => {
                self.begin(*phase, *total, *done, label);
            }
            RunEvent::Progress {
                phase,
                more,
                tokens,
                note,
            } => {
                let mut running = self.running();
                if let Some(running) = running.iter_mut().find(|one| one.phase == *phase) {
                    running.advance(*more, *tokens, note.as_deref());
                }
            }
            RunEvent::End { phase } => self.clear(|one| one.phase == *phase),
            RunEvent::Notice(text) => self.notice(text),
        }
    }

    /// Runs `print` with the bars cleared away: everything that goes to stdout while a run is
    /// under way goes through here.
    pub fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.suspend(print)
    }

    /// Clears every bar for good, also those whose phase was cut short.
    pub fn finish(&self) {
        self.clear(|_| true);
    }

    fn clear(&self, which: impl Fn(&Running) -> bool) {
        self.running().retain(|one| {
            let clear = which(one);
            if clear {
                one.bar.finish_and_clear();
                self.bars.remove(&one.bar);
            }
            !clear
        });
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        // The list of bars is whole whatever its last holder was doing.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, phase: Phase, total: u64, done: u64, label: &str) {
        self.clear(|one| one.phase == phase);
        // A list of subjects may be longer than the line.
        let label = ellipsize(&harmless(label), (self.columns)() / 3);
        let bar = ProgressBar::new(total)
            .with_style(style(phase))
            .with_prefix(label);
        let bar = self.bars.add(bar.with_position(done));
        bar.tick();
        if !self.bars.is_hidden() {
            bar.enable_steady_tick(TICK);
        }
        let (began, note) = (Instant::now(), String::new());
        self.running().push(Running {
            phase,
            bar,
            began,
            here: 0,
            tokens: 0,
            note,
            columns: self.columns,
        });
    }

    fn notice(&self, text: &str) {
        if !self.notices {
            return;
        }
        self.suspend(|| {
            // Where stderr is closed nobody wants to read it.
            let _ = writeln!(io::stderr(), "{}", harmless(text));
        });
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Running {
    fn advance(&mut self, more: u64, tokens: u64, note: Option<&str>) {
        self.here += more;
        self.tokens += tokens;
        if let Some(note) = note {
            note.clone_into(&mut self.note);
        }
        let total = self.bar.length().unwrap_or(0);
        let left = total.saturating_sub(self.bar.position() + more);
        let elapsed = self.began.elapsed();
        let parts = message(
            self.phase,
            self.here,
            left,
            self.tokens,
            elapsed,
            &self.note,
        );
        let room = (self.columns)().saturating_sub(self.around());
        self.bar.set_message(fitting(parts, room));
        self.bar.inc(more);
    }

    /// Columns of a line that are not the message's: names, counts, and the least width of a bar.
    fn around(&self) -> usize {
        let total = self.bar.length().unwrap_or(0);
        let counts = match self.phase {
            Phase::Loading | Phase::Downloading => 2 * "999.99 MiB/".len(),
            Phase::Training => "step /".len() + 2 * total.to_string().len(),
            Phase::Answering | Phase::Judging => "/".len() + 2 * total.to_string().len(),
        };
        let label: usize = self.bar.prefix().chars().map(display_width).sum();
        let name = template(self.phase).split(' ').next().unwrap_or_default();
        name.len() + " ".len() + label + " [] ".len() + LEAST_BAR + counts + " ".len()
    }
}

/// Least columns of a bar itself.
const LEAST_BAR: usize = 10;

/// As many parts of a message as there is room for, the least needed left out first: a line that is
/// longer than the terminal wraps, and what wrapped stays behind.
fn fitting(mut parts: Vec<(Need, String)>, room: usize) -> String {
    let width = |parts: &[(Need, String)]| -> usize {
        let text: usize = parts.iter().map(|(_, part)| part.chars().count()).sum();
        text + 3 * parts.len().saturating_sub(1)
    };
    while width(&parts) > room {
        let Some(least) = (0..parts.len()).max_by_key(|&i| parts[i].0) else {
            break;
        };
        parts.remove(least);
    }
    let texts: Vec<String> = parts.into_iter().map(|(_, part)| part).collect();
    texts.join(" · ")
}

/// How much a part of a message is needed, the most first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Left,
    Note,
    Rate,
    Tokens,
}

/// What stands behind a bar: rates, time left, and the phase's own note. `here` is what this
/// process did: what an earlier one left done says nothing of the speed, and indicatif's own
/// estimate counts it in.
fn message(
    phase: Phase,
    here: u64,
    left: u64,
    tokens: u64,
    elapsed: Duration,
    note: &str,
) -> Vec<(Need, String)> {
    let mut parts = Vec::new();
    let seconds = elapsed.as_secs_f64();
    // A rate over less time than this is noise.
    if here > 0 && seconds >= 0.1 {
        let rate = here as f64 / seconds;
        let shown = match phase {
            Phase::Loading | Phase::Downloading => format!("{}/s", HumanBytes(rate as u64)),
            Phase::Training | Phase::Answering | Phase::Judging => format!("{rate:.1}/s"),
        };
        parts.push((Need::Rate, shown));
        if tokens > 0 {
            let tokens = format!("{:.0} tok/s", tokens as f64 / seconds);
            parts.push((Need::Tokens, tokens));
        }
        let left = clock((left as f64 / rate).ceil() as u64);
        parts.push((Need::Left, format!("{left} left")));
    }
    if !note.is_empty() {
        parts.push((Need::Note, note.to_owned()));
    }
    parts
}

/// `25s`, `3m05s`, `1h02m`.
fn clock(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

fn style(phase: Phase) -> ProgressStyle {
    let template = template(phase);
    // A template that does not parse would be a slip in this file, which a test excludes.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn template(phase: Phase) -> &'static str {
    match phase {
        Phase::Loading => "loading {prefix} [{wide_bar}] {bytes}/{total_bytes} {msg}",
        Phase::Downloading => "downloading {prefix} [{wide_bar}] {bytes}/{total_bytes} {msg}",
        Phase::Training => "training {prefix} [{wide_bar}] step {pos}/{len} {msg}",
        Phase::Answering => "answering {prefix} [{wide_bar}] {pos}/{len} {msg}",
        Phase::Judging => "judging {prefix} [{wide_bar}] {pos}/{len} {msg}",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use indicatif::TermLike;

    use super::*;

    const PHASES: [Phase; 5] = [
        Phase::Loading,
        Phase::Training,
        Phase::Answering,
        Phase::Downloading,
        Phase::Judging,
    ];

    /// A terminal that keeps everything it was told.
    #[derive(Debug, Clone, Default)]
    struct Screen(Arc<Mutex<String>>);

    impl Screen {
        fn text(&self) -> String {
            self.0.lock().unwrap().clone()
        }

        fn put(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            100
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.put(&format!("{text}\n"))
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.put(text)
        }
        fn clear_line(&self) -> io::Result<()> {
            self.put("<clear>")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn begin(phase: Phase, total: u64, done: u64, label: &str) -> RunEvent {
        RunEvent::Begin {
            phase,
            total,
            done,
            label: label.into(),
        }
    }

    fn on_screen() -> (Screen, Progress) {
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        (screen, Progress::on(target, true, || 100))
    }

    #[test]
    fn every_template_is_understood() {
        for phase in PHASES {
            assert!(
                ProgressStyle::with_template(template(phase)).is_ok(),
                "{phase:?}"
            );
        }
    }

    #[test]
    fn bar_counts_from_what_is_done_and_shows_the_note() {
        let (screen, progress) = on_screen();
        progress.hear(&begin(Phase::Answering, 100, 40, "base, ckpt-4"));
        assert!(
            screen.text().contains("answering base, ckpt-4 ["),
            "{}",
            screen.text()
        );
        assert!(screen.text().contains("] 40/100 "), "{}", screen.text());
        for more in [2, 1] {
            // Redraws are limited in rate: of two at once only the first is shown.
            std::thread::sleep(Duration::from_millis(300));
            let (phase, note) = (Phase::Answering, Some("knowledge".to_owned()));
            progress.hear(&RunEvent::Progress {
                phase,
                more,
                tokens: 30,
                note,
            });
        }
        assert!(screen.text().contains("] 42/100 "), "{}", screen.text());
        assert!(
            screen.text().contains(" left · knowledge"),
            "{}",
            screen.text()
        );
        progress.hear(&RunEvent::End {
            phase: Phase::Answering,
        });
        assert!(screen.text().ends_with("<clear>"), "{}", screen.text());
        assert!(progress.running().is_empty());
    }

    #[test]
    fn tables_are_printed_with_the_bars_away() {
        let (screen, progress) = on_screen();
        progress.hear(&begin(Phase::Training, 9, 0, "careful"));
        let seen = progress.suspend(|| screen.text());
        assert!(seen.ends_with("<clear>"), "{seen}");
    }

    #[test]
    fn phase_cut_short_leaves_no_bar() {
        let (screen, progress) = on_screen();
        progress.hear(&begin(Phase::Loading, 9, 0, "weights"));
        drop(progress);
        assert!(screen.text().ends_with("<clear>"), "{}", screen.text());
    }

    #[test]
    fn event_of_a_phase_that_never_began_is_no_crash() {
        let (_screen, progress) = on_screen();
        for phase in PHASES {
            progress.hear(&RunEvent::Progress {
                phase,
                more: 1,
                tokens: 1,
                note: None,
            });
            progress.hear(&RunEvent::End { phase });
        }
        assert!(progress.running().is_empty());
    }

    #[test]
    fn message_has_rates_time_left_and_note() {
        let after = Duration::from_secs;
        let answering = |here, left, tokens, seconds| {
            let parts = message(
                Phase::Answering,
                here,
                left,
                tokens,
                after(seconds),
                "ckpt-4",
            );
            fitting(parts, 80)
        };
        assert_eq!(
            answering(10, 50, 600, 4),
            "2.5/s · 150 tok/s · 20s left · ckpt-4"
        );
        assert_eq!(answering(10, 1000, 0, 4), "2.5/s · 6m40s left · ckpt-4");
        assert_eq!(answering(1, 400, 0, 10), "0.1/s · 1h06m left · ckpt-4");
        assert_eq!(answering(0, 50, 0, 4), "ckpt-4");
        assert_eq!(answering(10, 50, 600, 0), "ckpt-4");
        let loading = message(Phase::Loading, 1 << 21, 1 << 20, 0, after(1), "");
        assert_eq!(fitting(loading, 80), "2.00 MiB/s · 1s left");
    }

    /// A line that wraps leaves what is beyond the width behind at every step.
    #[test]
    fn a_narrow_terminal_gets_what_fits_on_one_line() {
        let parts = || {
            let note = "validation loss 0.123";
            message(Phase::Training, 10, 50, 600, Duration::from_secs(4), note)
        };
        let shown: Vec<String> = [60, 46, 40, 30, 10, 0]
            .map(|room| fitting(parts(), room))
            .into();
        assert_eq!(
            shown,
            [
                "2.5/s · 150 tok/s · 20s left · validation loss 0.123",
                "2.5/s · 20s left · validation loss 0.123",
                "2.5/s · 20s left · validation loss 0.123",
                "20s left",
                "20s left",
                ""
            ]
        );
        let screen = Screen::default();
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let progress = Progress::on(target, true, || 80);
        let label = "base, ckpt-12, ckpt-12@0.5, ckpt-24, ckpt-24@0.5, ckpt-36";
        progress.hear(&begin(Phase::Answering, 12_345, 0, label));
        std::thread::sleep(Duration::from_millis(120));
        progress.hear(&RunEvent::Progress {
            phase: Phase::Answering,
            more: 1,
            tokens: 100_000,
            note: Some("a note that would not fit on the line beside it".into()),
        });
        progress.running()[0].bar.tick();
        let text = screen.text();
        assert!(!text.contains("would not fit"), "{text}");
        assert!(text.contains("left"), "{text}");
    }
}
