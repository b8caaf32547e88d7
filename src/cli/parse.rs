//! From the process's arguments to a command, or to the text that ends the program before one.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

use crate::exit::Outcome;

use super::args::Cli;

/// A text that ends the program before any command began: help and version, or a usage error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarlyExit {
    /// What to print: on stdout with [`Outcome::Pass`], else on stderr. Ends in a newline.
    pub text: String,
    /// [`Outcome::Pass`] for help and version, [`Outcome::CouldNotMeasure`] for a usage error.
    pub outcome: Outcome,
}

/// Reads the process's arguments. `--version` names `commit`, unless it is empty.
///
/// # Errors
/// Help or version was asked for, or the arguments cannot be understood.
pub fn parse(commit: &str) -> Result<Cli, EarlyExit> {
    let [short, long] = versions(commit).map(|text| &*text.leak());
    let command = Cli::command().version(short).long_version(long);
    parse_with(command, std::env::args_os())
}

/// The version in one line, and with what was built in.
fn versions(commit: &str) -> [String; 2] {
    let version = env!("CARGO_PKG_VERSION");
    let short = match commit {
        "" => version.to_owned(),
        commit => format!("{version} ({commit})"),
    };
    let gpu = if cfg!(feature = "gpu") {
        "gpu (CUDA 13, for --device gpu)"
    } else {
        "none (--features gpu builds for NVIDIA GPUs)"
    };
    let system = [std::env::consts::OS, std::env::consts::ARCH].join(" ");
    let long = format!("{short}\nfeatures: {gpu}\nbuilt for: {system}");
    [short, long]
}

/// As [`parse`], from given arguments; the first is the program's name.
///
/// # Errors
/// As [`parse`].
#[cfg(test)]
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
    use std::path::PathBuf;

    use super::*;
    use crate::cli::args::*;
    use crate::exit::EXIT_CODES;
    use crate::model::DeviceChoice;

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
        for command in Cli::command()
            .get_subcommands_mut()
            .filter(|c| !c.has_subcommands() || c.get_name() == "snapshot")
        {
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

    /// What the help tells people to type is taken.
    #[test]
    fn every_command_shows_examples_that_are_right() {
        fn of(command: &mut clap::Command, path: &str) -> usize {
            let names: Vec<String> = command
                .get_subcommands()
                .map(|c| c.get_name().to_owned())
                .collect();
            if !names.is_empty() && path != "qeval snapshot" {
                let each = names.iter().map(|name| {
                    let inner = command.find_subcommand_mut(name).unwrap();
                    of(inner, &format!("{path} {name}"))
                });
                return each.sum();
            }
            let help = command.render_long_help().to_string();
            let examples = help.split("\nExamples:\n").nth(1);
            let examples = examples.unwrap_or_else(|| panic!("{path} has no examples"));
            let lines = examples.lines().take_while(|line| line.starts_with("  "));
            let mut count = 0;
            for line in lines {
                let line = line.trim().split(" > ").next().unwrap();
                assert!(line.starts_with(path), "{path}: {line}");
                // No example has white space within quotes but the question of `ask`.
                parsed(
                    &line["qeval ".len()..]
                        .replace("'Who are you?'", "Who?")
                        .replace('\'', ""),
                );
                count += 1;
            }
            assert!(count > 0, "{path}");
            count
        }
        assert!(of(&mut Cli::command(), "qeval") > 20);
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
            "gate --margin 0",
            "gate --margin 1.5",
            "gate --shard 0/4",
            "gate --shard 5/4",
            "gate --shard 4",
            "gate --shard 1/0",
            "gate --slots 0",
            "gate --threads 0",
            "gate --threads many",
            "gate --seed -1",
            "ask Who? --max-new-tokens 0",
            "ask Who? --temperature warm",
            "gate --format yaml",
            "gate --color sometimes",
            "init a b",
            "help a b",
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
            "diff base ckpt-4 careful/ckpt-8@0.5 --all --html p.html --margin 0.05 --suites-from main --config a.toml --model m.gguf --suite code \
             --suite mine.toml --tag en --probe code::* --shard 2/4 --slots 8 --threads 2 --seed 7 \
             --runs out --format json --color never --quiet",
        );
        let output = OutputArgs {
            format: OutputFormat::Json,
            color: Color::Never,
            quiet: true,
        };
        assert_eq!(cli.output, output);
        let Command::Diff(DiffArgs {
            base,
            candidates,
            all,
            verbose,
            html,
            margin,
            suites_from,
            measure,
        }) = cli.command
        else {
            panic!()
        };
        assert_eq!((all, verbose, margin), (true, false, Some(0.05)));
        assert_eq!(html, Some("p.html".into()));
        assert_eq!(suites_from.as_deref(), Some("main"));
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
        let store = StoreArgs {
            runs: Some("out".into()),
        };
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
            format: OutputFormat::Text,
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
            store: StoreArgs { runs: None },
        };
        assert_eq!(
            cli.command,
            Command::Gate(GateArgs {
                margin: None,
                suites_from: None,
                junit: None,
                markdown: None,
                verbose: false,
                html: None,
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
        assert_eq!(train.train.config, PathBuf::from("qeval.toml"));
        assert!(parsed("--quiet train").output.quiet);
    }

    #[test]
    fn help_of_the_whole() {
        insta::assert_snapshot!(help("--help"), @"
        Trains LoRA adapters and gates every checkpoint against the base model

        Usage: qeval [OPTIONS] <COMMAND>

        Commands:
          init         Write a commented qeval.toml, the built-in suites, and sample data into a folder
          demo         Show the whole loop on a real small model, with no other set-up
          train        Train; every checkpoint goes through the suites
          tune         Choose settings of training: the most learned of what keeps
          run          Answer the suites, score the answers, and store the records
          show         Show what a subject answered, with scores and reasons; nothing is compared
          list         List the suites and probes as they would be asked
          ask          Ask a question, or hold a conversation, and see the answers beside each other
          diff         Compare subjects with a base, probe by probe
          gate         Print the verdict alone, for CI
          why          Show why a probe was lost
          bisect       Find the first bad checkpoint of a run with the fewest answers
          history      Show the verdicts so far, over runs and commits
          watch        Judge each checkpoint that another trainer writes, as it is finished
          compare      Judge two result files of lm-eval, Inspect, or evalscope
          export       Write what is recorded as files that other programs read
          snapshot     Review changed answers: list, show, accept, or reject
          data         Show what a training run would be made of
          suite        Test the suites themselves
          adapter      Turn an adapter down until it passes, or find which parts of it do harm
          help         Print a page of the guide, or name them all
          bench        Measure how fast this machine answers and trains, beside what its hardware allows
          schema       Print the JSON Schema of qeval.toml or of a suite, for editors
          completions  Print completions for a shell

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
          1  regression, too little learned, or nothing may ship
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
          [CANDIDATE]  What to judge against the base [default: what the configuration says, else the best
                       checkpoint of the latest run that trained, else its newest]

        Options:
          -h, --help  Print help

        Judging:
              --margin <X>         The largest tolerated loss over all `keep` probes, above 0 and at most 1
                                   [default: that of the run or the configuration, else 0.03]
              --suites-from <REV>  Suites, margins, and whatever else asks and judges as they are at a
                                   revision of git, such as origin/main: a pull request cannot loosen its
                                   own exam [default: the working tree's]

        Reports:
              --junit <FILE>     Also write the verdict as JUnit XML: a test a probe, one a suite, and one
                                 for all [default: no]
              --markdown <FILE>  Also write the verdict as Markdown for a comment on a pull request
                                 [default: no]
              --verbose          Print everything: what so many probes can prove, every reason, note, and
                                 suite with its noise, and how old the base's answers are [default: one
                                 page]
              --html <FILE>      Also write a page to look at: the verdict, and every answer side by side
                                 [default: no]

        Model:
              --config <FILE>  The configuration; the default may be missing, a named one may not [default:
                               qeval.toml]
              --model <MODEL>  The base model: a Hugging Face folder or id, a GGUF file, smollm2-135m, or
                               qwen2.5-coder-0.5b [default: what the configuration says]

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
              --runs <DIR>  The folder of runs: records, checkpoints, and provenance [default: `output_dir`
                            of the configuration, else runs]

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
          http://host:8000/v1#name   a model behind a server: `qeval help servers`

        Examples:
          qeval gate
          qeval gate path/to/adapter --margin 0.05 --junit gate.xml
          qeval gate path/to/adapter --suites-from origin/main

        Exit codes:
          0  pass
          1  regression, too little learned, or nothing may ship
          2  inconclusive: neither is proven, and the report says what would do
          3  could not measure: usage error, bad input, missing model, or a crash
        ");
        insta::assert_snapshot!(own_help("init"), @"
        Write a commented qeval.toml, the built-in suites, and sample data into a folder

        Usage: qeval init [OPTIONS] [DIR]

        Arguments:
          [DIR]  The folder; it is made if need be [default: .]

        No file is overwritten: if one is there, nothing is written.

        Examples:
          qeval init
          qeval init my-project
        ");
        insta::assert_snapshot!(own_help("demo"), @"
        Show the whole loop on a real small model, with no other set-up

        Usage: qeval demo [OPTIONS]

        Model:
              --model <MODEL>  The base model: a Hugging Face folder or id, a GGUF file, smollm2-135m, or
                               qwen2.5-coder-0.5b [default: smollm2-135m, fetched when it is not there]

        Reports:
              --html <FILE>  Where the page to look at is written [default: demo.html in the folder of runs]

        Trains one careless and one careful adapter, gates every checkpoint of both, and prints what each of
        them answers. Exits 0 when both verdicts are as they should be.

        Examples:
          qeval demo
          qeval demo --model qwen2.5-coder-0.5b
        ");
        insta::assert_snapshot!(own_help("train"), @"
        Train; every checkpoint goes through the suites

        Usage: qeval train [OPTIONS] [CONFIG]

        Arguments:
          [CONFIG]  The configuration [default: qeval.toml]

        Reports:
              --verbose      Print every reason, cause, and note of the verdict [default: the page of `qeval
                             gate`]
              --html <FILE>  Also write a page to look at: the curve of the checkpoints, and every answer
                             side by side [default: no]

        Model:
              --model <MODEL>  The base model [default: what the configuration says]

        Judges each checkpoint at several scales, stops when two in a row are lost at each or when patience
        runs out, and writes the best that passes to RUN/best. Goes on from the last checkpoint after a
        crash. Exits 1 when nothing may ship.

        Examples:
          qeval train
          qeval train --model Qwen2.5-7B-Instruct --device gpu
        ");
        insta::assert_snapshot!(own_help("run"), @"
        Answer the suites, score the answers, and store the records

        Usage: qeval run [OPTIONS] <SUBJECT>...

        Arguments:
          <SUBJECT>...  Who answers; several share one loaded base

        Goes on where a killed run ended, and never repeats finished work.

        Examples:
          qeval run base ckpt-40
          qeval run path/to/adapter --tag smoke
        ");
        insta::assert_snapshot!(own_help("ask"), @r#"
        Ask a question, or hold a conversation, and see the answers beside each other

        Usage: qeval ask [OPTIONS] [QUESTION] [SUBJECT]...

        Arguments:
          [QUESTION]    What to ask [default: on a terminal a conversation, else one question a line of
                        standard input]
          [SUBJECT]...  Who answers beside the base [default: what the configuration says, else the best
                        checkpoint of the latest run that trained, else its newest, else nobody]

        Answers:
              --system <TEXT>       The system prompt; "" is an empty one [default: that of the checkpoint's
                                    run or the configuration, else the chat template's own]
              --max-new-tokens <N>  Most tokens of an answer; one that is cut says so [default: 256]
              --temperature <T>     How much chance there is in an answer; 0 always takes the likeliest
                                    token [default: 0]

        The base answers first, then each subject, all in one batch. Without a question a terminal gets a
        conversation in which each subject has its own history, and a pipe is read as one question a line. A
        first word that names a subject is one: `qeval ask ckpt-40` begins a conversation with it. Nothing
        is recorded.

        Examples:
          qeval ask 'Who are you?' ckpt-40
          qeval ask ckpt-40
        "#);
        insta::assert_snapshot!(own_help("history"), @"
        Show the verdicts so far, over runs and commits

        Usage: qeval history [OPTIONS]

        Options:
              --suite <NAME>   Only what one suite came to [default: all suites together]
              --limit <N>      Only the newest N verdicts [default: 20]
              --config <FILE>  The configuration; the default may be missing, a named one may not [default:
                               qeval.toml]
          -h, --help           Print help

        The newest is last. `keep` is the difference of all `keep` suites with its ends, `learn` the mean of
        all `learn` suites. Where the questions or the base changed, the table says so and the line of bars
        is cut: such numbers are not to be compared. A run that cannot be read is named and left out.

        Examples:
          qeval history
          qeval history --suite code --limit 50
          qeval history --format json
        ");
        insta::assert_snapshot!(own_help("watch"), @"
        Judge each checkpoint that another trainer writes, as it is finished

        Usage: qeval watch [OPTIONS] <DIR>

        Arguments:
          <DIR>  The folder that the trainer writes to, or one above it

        Watching:
              --poll <SECONDS>        Seconds from one look to the next; looking works on network disks too
                                      [default: 5]
              --once                  Judge what is there, and end [default: no]
              --until-idle <MINUTES>  End when nothing new came for so long, and not when the trainer has
                                      written its last checkpoint [default: end with the trainer]
              --trust-base            Take the base that is told for the trainer's, whatever it is called
                                      there [default: refuse an adapter that names another]

        Verdicts:
              --stop-file <PATH>  Write this file when the trainer should stop: the newest checkpoints are
                                  proven losses, as many as `stop_on_regression` says [default: no]
              --post <URL>        Send each verdict as JSON to this address, and to no other: redirects are
                                  not followed [default: no]
              --keep-best <LINK>  Keep a link to the best checkpoint that may ship; with one the exit code
                                  is 0 [default: no]
              --verbose           Print every reason, cause, and note of a verdict [default: the page of
                                  `qeval gate`]

        Judging:
              --margin <X>  The largest tolerated loss over all `keep` probes, above 0 and at most 1
                            [default: that of the configuration, else 0.03]

        Finds folders checkpoint-STEP of Hugging Face's Trainer, ms-swift, LLaMA-Factory, axolotl, unsloth,
        and TRL, in DIR and five levels below, and judges each once when its last file is whole. Base,
        system prompt, and data are taken from what the trainer wrote, unless they are told. Nothing of the
        trainer's is changed. Goes on where a killed command ended. `qeval help trainers` has the callback
        that obeys --stop-file.

        Examples:
          qeval watch output
          qeval watch output --stop-file output/stop --keep-best best
          qeval watch output --once --format json
          qeval watch output --until-idle 30 --post http://127.0.0.1:8080/verdict
        ");
        insta::assert_snapshot!(own_help("diff"), @"
        Compare subjects with a base, probe by probe

        Usage: qeval diff [OPTIONS] <BASE> <CANDIDATE>...

        Arguments:
          <BASE>          What to compare with, mostly `base`
          <CANDIDATE>...  What to compare

        Answers:
              --all  Show every answer that changed, not the ten largest losses alone [default: no]

        Reports:
              --verbose      Print everything: what so many probes can prove, every reason, note, and suite
                             with its noise, and how old the base's answers are [default: one page]
              --html <FILE>  Also write a page to look at: the verdict, and every answer side by side
                             [default: no]

        Prints a table per suite, the changed answers with what changed in them, and the verdict.

        Examples:
          qeval diff base ckpt-40
          qeval diff base ckpt-40 --probe 'code::*'
        ");
    }
}
