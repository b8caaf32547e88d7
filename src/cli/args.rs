//! What the user types: clap types only, every default stated in the help.
//!
//! Nothing is looked up here. Options that also stand in `qeval.toml` are `None` when they were
//! not typed, so that the command that reads the file decides.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use super::bench_args::BenchArgs;
use crate::exit::{EXIT_CODES, Outcome};
use crate::model::DeviceChoice;
use crate::suite::Shard;

const SUBJECTS: &str = "\
Subjects:
  base               the base model, every adapter off
  ckpt-40            a checkpoint of the latest run that trained
  run-0001/ckpt-40   a checkpoint of that run
  path/to/adapter    a PEFT folder of any trainer
  ckpt-40@0.5        any adapter, at half its scale";

/// The whole command line.
#[derive(Debug, Clone, PartialEq, Parser)]
#[command(
    name = "qeval",
    version,
    about = "Trains LoRA adapters and gates every checkpoint against the base model",
    after_help = EXIT_CODES,
    max_term_width = 100,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to show it.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// The commands. Details stand behind the options: in front of them (`long_about`) they would make
/// clap spread every option over several lines.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum Command {
    /// Write a commented qeval.toml, the built-in suites, and sample data into a folder
    #[command(after_help = after(
        "No file is overwritten: if one is there, nothing is written."
    ))]
    Init(InitArgs),
    /// Show the whole loop on a real small model, with no other set-up
    #[command(after_help = after(
        "Trains one careless and one careful adapter, gates every checkpoint of both, and prints \
         what each of them answers. Exits 0 when both verdicts are as they should be."
    ))]
    Demo(DemoArgs),
    /// Train; every checkpoint goes through the suites
    #[command(after_help = after(
        "Stops on a proven regression or when patience runs out, keeps the best passing \
         checkpoint, and goes on from the last checkpoint after a crash. Exits 1 when nothing may \
         ship."
    ))]
    Train(TrainArgs),
    /// Answer the suites, score the answers, and store the records
    #[command(after_help = after(&format!(
        "Goes on where a killed run ended, and never repeats finished work.\n\n{SUBJECTS}"
    )))]
    Run(RunArgs),
    /// Compare subjects with a base, probe by probe
    #[command(after_help = after(&format!(
        "Prints a table per suite, the changed answers with what changed in them, and the \
         verdict.\n\n{SUBJECTS}"
    )))]
    Diff(DiffArgs),
    /// Print the verdict alone, for CI
    #[command(after_help = after(SUBJECTS))]
    Gate(GateArgs),
    /// Review changed answers: list, show, accept, or reject
    #[command(after_help = after(
        "The same files that `cargo insta review` shows: snapshots/answers/SUITE/PROBE.snap.new. \
         Written by `cargo test` and `qeval gate`."
    ))]
    Snapshot(SnapshotArgs),
    /// Measure how fast this machine answers and trains, beside what its hardware allows
    #[command(after_help = after(
        "The floor of a measurement is the longer of two times: the bytes that must be read over \
         the rate of a copy, and the operations over the rate of a large product, both measured \
         at start."
    ))]
    Bench(BenchArgs),
}

fn after(details: &str) -> String {
    format!("{details}\n\n{EXIT_CODES}")
}

/// Arguments of `init`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct InitArgs {
    /// The folder; it is made if need be
    #[arg(value_name = "DIR", default_value = ".")]
    pub folder: PathBuf,
}

/// Arguments of `demo`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DemoArgs {
    /// The model's GGUF file or folder [default: smollm2-135m, fetched when it is not there]
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    pub model: Option<String>,
    /// How to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Where to store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Arguments of `train`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct TrainArgs {
    /// The configuration
    #[arg(value_name = "CONFIG", default_value = "qeval.toml")]
    pub config: PathBuf,
    /// The base model [default: what the configuration says]
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    pub model: Option<String>,
    /// What to ask.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Where to store.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// Arguments of `run`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct RunArgs {
    /// Who answers; several share one loaded base
    #[arg(value_name = "SUBJECT", required = true)]
    pub subjects: Vec<String>,
    /// What they share with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// Arguments of `diff`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct DiffArgs {
    /// What to compare with, mostly `base`
    #[arg(value_name = "BASE")]
    pub base: String,
    /// What to compare
    #[arg(value_name = "CANDIDATE", required = true)]
    pub candidates: Vec<String>,
    /// What they share with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// Arguments of `gate`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct GateArgs {
    /// What to judge against the base [default: what the configuration says, else the newest
    /// checkpoint of the latest run that trained]
    #[arg(value_name = "CANDIDATE")]
    pub candidate: Option<String>,
    /// Also write the verdict as JUnit XML: a test a probe, one a suite, and one for all
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub junit: Option<PathBuf>,
    /// What they share with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// Arguments of `snapshot`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct SnapshotArgs {
    /// What to do; on a terminal without it, each pending change is shown and asked about
    #[command(subcommand)]
    pub action: Option<SnapshotAction>,
    /// The configuration; the default may be missing, a named one may not [default: qeval.toml]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

/// What `snapshot` does.
#[derive(Debug, Clone, PartialEq, Subcommand)]
pub enum SnapshotAction {
    /// Name the pending changes
    List,
    /// Show the pending changes, or those named
    Show {
        /// SUITE/PROBE, `*` for any characters
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Accept the pending changes, or those named
    Accept {
        /// SUITE/PROBE, `*` for any characters
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Keep what was accepted, and accept the change as one more variant
        #[arg(long)]
        variant: bool,
    },
    /// Reject the pending changes, or those named: what was accepted stays
    Reject {
        /// SUITE/PROBE, `*` for any characters
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Name the snapshots of probes that no suite has any more
    Orphans {
        /// Remove them
        #[arg(long)]
        remove: bool,
    },
}

/// What the commands that answer suites have in common.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct MeasureArgs {
    /// The base model's settings.
    #[command(flatten)]
    pub model: ModelArgs,
    /// What to ask.
    #[command(flatten)]
    pub select: SelectArgs,
    /// How to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
    /// Where to store.
    #[command(flatten)]
    pub store: StoreArgs,
}

impl MeasureArgs {
    /// Everything as a configuration says.
    pub fn of_config(config: &std::path::Path, runs: PathBuf) -> Self {
        MeasureArgs {
            model: ModelArgs {
                config: Some(config.to_owned()),
                model: None,
            },
            select: SelectArgs::default(),
            compute: ComputeArgs {
                device: DeviceChoice::Auto,
                slots: None,
                threads: None,
                seed: None,
            },
            store: StoreArgs { runs },
        }
    }
}

/// Configuration and base model.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// The configuration; the default may be missing, a named one may not [default: qeval.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The base model: a Hugging Face folder or id, a GGUF file, or smollm2-135m [default: what
    /// the configuration says]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
}

/// Which probes are asked.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Probes")]
pub struct SelectArgs {
    /// A suite file, a folder of them, or the name of a built-in suite; may be repeated [default:
    /// what the configuration says, else the built-in suites]
    #[arg(long = "suite", value_name = "SUITE")]
    pub suites: Vec<String>,
    /// Only probes with this tag; may be repeated, a probe needs all, of a,b one will do. The sizes
    /// smoke, standard, and full are tags too, each with the smaller ones
    /// [default: what the configuration says, else every probe]
    #[arg(long = "tag", value_name = "TAG")]
    pub tags: Vec<String>,
    /// Only probes whose suite::id matches, as in 'code::*'; may be repeated, any of them will do
    /// [default: every probe]
    #[arg(long = "probe", value_name = "GLOB")]
    pub probes: Vec<String>,
    /// Only the first N prompts of each probe, for a quick look
    /// [default: what the configuration says, else every prompt]
    #[arg(long, value_name = "N")]
    pub prompts: Option<std::num::NonZeroUsize>,
    /// Only the K-th of N parts of the probes, as in 2/4 [default: 1/1]
    #[arg(long, value_name = "K/N")]
    pub shard: Option<Shard>,
}

/// How fast and from which seed.
#[derive(Debug, Clone, Default, PartialEq, Args)]
#[command(next_help_heading = "Computing")]
pub struct ComputeArgs {
    /// Where the model runs: auto, cpu, gpu, or gpu:N; auto is a GPU if there is one that can
    #[arg(long, value_name = "DEVICE", default_value = "auto", value_parser = super::bench_args::device)]
    pub device: DeviceChoice,
    /// Answers in work at once; on the CPU an answer does not depend on it [default: 32, on a GPU
    /// 64]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub slots: Option<u32>,
    /// Worker threads; an answer does not depend on it [default: one a core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Option<u32>,
    /// The seed that every random draw is derived from [default: that of the run or the
    /// configuration, else 42]
    #[arg(long, value_name = "SEED")]
    pub seed: Option<u64>,
}

/// Where runs are kept.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Records")]
pub struct StoreArgs {
    /// The folder of runs: records, checkpoints, and provenance
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub runs: PathBuf,
}

/// How results are shown; the same for every command.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Tables for people, or JSON for machines
    #[arg(long, value_name = "text|json", hide_possible_values = true, value_enum, default_value_t = Format::Text, global = true)]
    pub format: Format,
    /// Colours; auto means on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "auto|always|never", hide_possible_values = true, value_enum, default_value_t = Color::Auto, global = true)]
    pub color: Color,
    /// Neither progress nor notices; results and errors alone [default: progress on a terminal]
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Format {
    /// Tables for people.
    Text,
    /// JSON for machines.
    Json,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    /// Even into a file.
    Always,
    /// Not even on a terminal.
    Never,
}

impl Color {
    /// Whether to colour what goes to stdout.
    pub fn on_stdout(self) -> bool {
        // https://no-color.org: set and not empty, whatever its value.
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        self.decide(std::io::stdout().is_terminal(), no_color)
    }

    fn decide(self, terminal: bool, no_color: bool) -> bool {
        match self {
            Color::Auto => terminal && !no_color,
            Color::Always => true,
            Color::Never => false,
        }
    }
}

/// A text that ends the program before any command began: help and version, or a usage error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyExit {
    /// What to print: on stdout with [`Outcome::Pass`], else on stderr. Ends in a newline.
    pub text: String,
    /// [`Outcome::Pass`] for help and version, [`Outcome::CouldNotMeasure`] for a usage error.
    pub outcome: Outcome,
}

/// Reads the process's arguments.
///
/// # Errors
/// Help or version was asked for, or the arguments cannot be understood.
pub fn parse() -> Result<Cli, EarlyExit> {
    parse_from(std::env::args_os())
}

/// As [`parse`], from given arguments; the first is the program's name.
///
/// # Errors
/// As [`parse`].
pub fn parse_from<I, T>(arguments: I) -> Result<Cli, EarlyExit>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    parse_with(Cli::command(), arguments)
}

fn parse_with<I, T>(command: clap::Command, arguments: I) -> Result<Cli, EarlyExit>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let matches = command.try_get_matches_from(arguments);
    matches
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| {
            // clap's own code for a usage error, 2, would read as "inconclusive".
            let outcome = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Outcome::Pass,
                _ => Outcome::CouldNotMeasure,
            };
            let text = error.render().to_string();
            // clap indents its empty lines.
            let lines = text.lines().map(|line| format!("{}\n", line.trim_end()));
            EarlyExit {
                text: lines.collect(),
                outcome,
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Help depends on the terminal's width: here it is fixed.
    fn early(arguments: &str) -> EarlyExit {
        let words = std::iter::once("qeval").chain(arguments.split_whitespace());
        parse_with(Cli::command().term_width(100), words).unwrap_err()
    }

    fn help(arguments: &str) -> String {
        let early = early(arguments);
        assert_eq!(early.outcome, Outcome::Pass);
        early.text
    }

    fn refused(arguments: &str) -> String {
        let early = early(arguments);
        assert_eq!(early.outcome, Outcome::CouldNotMeasure, "{arguments}");
        early.text
    }

    fn parsed(arguments: &str) -> Cli {
        let words = std::iter::once("qeval").chain(arguments.split_whitespace());
        parse_from(words).unwrap_or_else(|early| panic!("{arguments}: {}", early.text))
    }

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_exit_codes_and_every_option_its_default() {
        for command in Cli::command().get_subcommands_mut() {
            let name = command.get_name().to_owned();
            assert!(
                help(&format!("{name} --help")).contains(EXIT_CODES),
                "{name}"
            );
            for argument in command.get_arguments() {
                let said = argument
                    .get_help()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                let stated = !argument.get_default_values().is_empty()
                    || said.contains("[default: ")
                    || argument.is_required_set()
                    || matches!(argument.get_id().as_str(), "help" | "version");
                assert!(stated, "{name}: {} states no default", argument.get_id());
            }
        }
    }

    #[test]
    fn usage_errors_are_could_not_measure() {
        assert_eq!(
            help("--version"),
            format!("qeval {}\n", env!("CARGO_PKG_VERSION"))
        );
        for arguments in [
            "",
            "frobnicate",
            "gate --typo",
            "run",
            "diff base",
            "diff",
            "gate a b",
            "train a b",
            "gate --shard 0/4",
            "gate --shard 5/4",
            "gate --shard 4",
            "gate --shard 1/0",
            "gate --slots 0",
            "gate --threads 0",
            "gate --threads many",
            "gate --seed -1",
            "gate --format yaml",
            "gate --color sometimes",
            "init a b",
            "help",
        ] {
            refused(arguments);
        }
    }

    #[test]
    fn usage_errors_name_the_way_out() {
        insta::assert_snapshot!(refused("gate --thread 2"), @"
        error: unexpected argument '--thread' found

          tip: a similar argument exists: '--threads'

        Usage: qeval gate --threads <N> [CANDIDATE]

        For more information, try '--help'.
        ");
        insta::assert_snapshot!(refused("gate --shard 5/4"), @"
        error: invalid value '5/4' for '--shard <K/N>': `5/4` is no shard: a shard is `k/n` with k from 1 to n, as in `2/4`

        For more information, try '--help'.
        ");
        insta::assert_snapshot!(refused("diff base"), @"
        error: the following required arguments were not provided:
          <CANDIDATE>...

        Usage: qeval diff <BASE> <CANDIDATE>...

        For more information, try '--help'.
        ");
        insta::assert_snapshot!(refused("trian"), @"
        error: unrecognized subcommand 'trian'

          tip: a similar subcommand exists: 'train'

        Usage: qeval [OPTIONS] <COMMAND>

        For more information, try '--help'.
        ");
    }

    #[test]
    fn options_mean_what_they_say() {
        let cli = parsed(
            "diff base ckpt-4 careful/ckpt-8@0.5 --config a.toml --model m.gguf --suite code \
             --suite mine.toml --tag en --probe code::* --shard 2/4 --slots 8 --threads 2 --seed 7 \
             --runs out --format json --color never --quiet",
        );
        let output = OutputArgs {
            format: Format::Json,
            color: Color::Never,
            quiet: true,
        };
        assert_eq!(cli.output, output);
        let Command::Diff(DiffArgs {
            base,
            candidates,
            measure,
        }) = cli.command
        else {
            panic!()
        };
        assert_eq!(
            (base.as_str(), candidates),
            ("base", vec!["ckpt-4".into(), "careful/ckpt-8@0.5".into()])
        );
        let model = ModelArgs {
            config: Some("a.toml".into()),
            model: Some("m.gguf".into()),
        };
        let select = SelectArgs {
            suites: vec!["code".into(), "mine.toml".into()],
            tags: vec!["en".into()],
            probes: vec!["code::*".into()],
            prompts: None,
            shard: "2/4".parse().ok(),
        };
        let compute = ComputeArgs {
            device: DeviceChoice::Auto,
            slots: Some(8),
            threads: Some(2),
            seed: Some(7),
        };
        let store = StoreArgs { runs: "out".into() };
        assert_eq!(
            measure,
            MeasureArgs {
                model,
                select,
                compute,
                store
            }
        );
    }

    #[test]
    fn what_is_not_typed_is_left_to_the_configuration() {
        let cli = parsed("gate");
        let output = OutputArgs {
            format: Format::Text,
            color: Color::Auto,
            quiet: false,
        };
        assert_eq!(cli.output, output);
        let measure = MeasureArgs {
            model: ModelArgs {
                config: None,
                model: None,
            },
            select: SelectArgs::default(),
            compute: ComputeArgs::default(),
            store: StoreArgs {
                runs: "runs".into(),
            },
        };
        assert_eq!(
            cli.command,
            Command::Gate(GateArgs {
                junit: None,
                candidate: None,
                measure
            })
        );
        assert_eq!(
            parsed("init").command,
            Command::Init(InitArgs { folder: ".".into() })
        );
        let Command::Train(train) = parsed("train -q").command else {
            panic!()
        };
        assert_eq!(train.config, PathBuf::from("qeval.toml"));
        assert!(parsed("--quiet train").output.quiet);
    }

    #[test]
    fn colours_obey_no_color_unless_asked_for() {
        for (color, terminal, no_color, expected) in [
            (Color::Auto, true, false, true),
            (Color::Auto, true, true, false),
            (Color::Auto, false, false, false),
            (Color::Always, false, true, true),
            (Color::Never, true, false, false),
        ] {
            assert_eq!(
                color.decide(terminal, no_color),
                expected,
                "{color:?} {terminal} {no_color}"
            );
        }
    }

    #[test]
    fn help_of_the_whole() {
        insta::assert_snapshot!(help("--help"), @"
        Trains LoRA adapters and gates every checkpoint against the base model

        Usage: qeval [OPTIONS] <COMMAND>

        Commands:
          init      Write a commented qeval.toml, the built-in suites, and sample data into a folder
          demo      Show the whole loop on a real small model, with no other set-up
          train     Train; every checkpoint goes through the suites
          run       Answer the suites, score the answers, and store the records
          diff      Compare subjects with a base, probe by probe
          gate      Print the verdict alone, for CI
          snapshot  Review changed answers: list, show, accept, or reject
          bench     Measure how fast this machine answers and trains, beside what its hardware allows

        Options:
          -h, --help     Print help
          -V, --version  Print version

        Output:
              --format <text|json>         Tables for people, or JSON for machines [default: text]
              --color <auto|always|never>  Colours; auto means on a terminal, unless NO_COLOR is set
                                           [default: auto]
          -q, --quiet                      Neither progress nor notices; results and errors alone [default:
                                           progress on a terminal]

        Exit codes:
          0  pass
          1  regression, or nothing may ship
          2  inconclusive: neither is proven, and the report says what would do
          3  could not measure: usage error, bad input, missing model, or a crash
        ");
    }

    /// Help of a command without the sections that are the same in `gate --help`.
    fn own_help(command: &str) -> String {
        let gate = help("gate --help");
        let text = help(&format!("{command} --help"));
        let own: Vec<&str> = text
            .split("\n\n")
            .filter(|section| !gate.contains(section.trim_end()))
            .collect();
        own.join("\n\n")
    }

    #[test]
    fn help_of_commands() {
        insta::assert_snapshot!(help("gate --help"), @"
        Print the verdict alone, for CI

        Usage: qeval gate [OPTIONS] [CANDIDATE]

        Arguments:
          [CANDIDATE]  What to judge against the base [default: what the configuration says, else the newest
                       checkpoint of the latest run that trained]

        Options:
          -h, --help  Print help

        Reports:
              --junit <FILE>  Also write the verdict as JUnit XML: a test a probe, one a suite, and one for
                              all

        Model:
              --config <FILE>  The configuration; the default may be missing, a named one may not [default:
                               qeval.toml]
              --model <MODEL>  The base model: a Hugging Face folder or id, a GGUF file, or smollm2-135m
                               [default: what the configuration says]

        Probes:
              --suite <SUITE>  A suite file, a folder of them, or the name of a built-in suite; may be
                               repeated [default: what the configuration says, else the built-in suites]
              --tag <TAG>      Only probes with this tag; may be repeated, a probe needs all, of a,b one
                               will do. The sizes smoke, standard, and full are tags too, each with the
                               smaller ones [default: what the configuration says, else every probe]
              --probe <GLOB>   Only probes whose suite::id matches, as in 'code::*'; may be repeated, any of
                               them will do [default: every probe]
              --prompts <N>    Only the first N prompts of each probe, for a quick look [default: what the
                               configuration says, else every prompt]
              --shard <K/N>    Only the K-th of N parts of the probes, as in 2/4 [default: 1/1]

        Computing:
              --device <DEVICE>  Where the model runs: auto, cpu, gpu, or gpu:N; auto is a GPU if there is
                                 one that can [default: auto]
              --slots <N>        Answers in work at once; on the CPU an answer does not depend on it
                                 [default: 32, on a GPU 64]
              --threads <N>      Worker threads; an answer does not depend on it [default: one a core]
              --seed <SEED>      The seed that every random draw is derived from [default: that of the run
                                 or the configuration, else 42]

        Records:
              --runs <DIR>  The folder of runs: records, checkpoints, and provenance [default: runs]

        Output:
              --format <text|json>         Tables for people, or JSON for machines [default: text]
              --color <auto|always|never>  Colours; auto means on a terminal, unless NO_COLOR is set
                                           [default: auto]
          -q, --quiet                      Neither progress nor notices; results and errors alone [default:
                                           progress on a terminal]

        Subjects:
          base               the base model, every adapter off
          ckpt-40            a checkpoint of the latest run that trained
          run-0001/ckpt-40   a checkpoint of that run
          path/to/adapter    a PEFT folder of any trainer
          ckpt-40@0.5        any adapter, at half its scale

        Exit codes:
          0  pass
          1  regression, or nothing may ship
          2  inconclusive: neither is proven, and the report says what would do
          3  could not measure: usage error, bad input, missing model, or a crash
        ");
        insta::assert_snapshot!(own_help("init"), @"
        Write a commented qeval.toml, the built-in suites, and sample data into a folder

        Usage: qeval init [OPTIONS] [DIR]

        Arguments:
          [DIR]  The folder; it is made if need be [default: .]

        No file is overwritten: if one is there, nothing is written.
        ");
        insta::assert_snapshot!(own_help("demo"), @"
        Show the whole loop on a real small model, with no other set-up

        Usage: qeval demo [OPTIONS]

        Model:
              --model <MODEL>  The model's GGUF file or folder [default: smollm2-135m, fetched when it is
                               not there]

        Trains one careless and one careful adapter, gates every checkpoint of both, and prints what each of
        them answers. Exits 0 when both verdicts are as they should be.
        ");
        insta::assert_snapshot!(own_help("train"), @"
        Train; every checkpoint goes through the suites

        Usage: qeval train [OPTIONS] [CONFIG]

        Arguments:
          [CONFIG]  The configuration [default: qeval.toml]

        Model:
              --model <MODEL>  The base model [default: what the configuration says]

        Stops on a proven regression or when patience runs out, keeps the best passing checkpoint, and goes
        on from the last checkpoint after a crash. Exits 1 when nothing may ship.
        ");
        insta::assert_snapshot!(own_help("run"), @"
        Answer the suites, score the answers, and store the records

        Usage: qeval run [OPTIONS] <SUBJECT>...

        Arguments:
          <SUBJECT>...  Who answers; several share one loaded base

        Goes on where a killed run ended, and never repeats finished work.
        ");
        insta::assert_snapshot!(own_help("diff"), @"
        Compare subjects with a base, probe by probe

        Usage: qeval diff [OPTIONS] <BASE> <CANDIDATE>...

        Arguments:
          <BASE>          What to compare with, mostly `base`
          <CANDIDATE>...  What to compare

        Prints a table per suite, the changed answers with what changed in them, and the verdict.
        ");
    }
}
