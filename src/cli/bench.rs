//! `qeval bench`: how fast this machine is, beside its floor.

use serde::Serialize;

use crate::exit::Outcome;
use crate::hub;
use crate::model::{Compute, Format, Matrices, MemoryOf, Model, ModelConfig, ModelFiles};
use crate::project::use_threads;
use crate::run::{Bench, Benchmark, Demand, Part, Planned, RunError, may_load, plan, shape, size};

use super::args::{BenchArgs, BenchPart, OutputFormat};
use super::error::CliError;
use super::output::Screen;

#[derive(Serialize)]
struct BenchReport<'a> {
    model: &'a str,
    device: String,
    rates: crate::run::Rates,
    measured: &'a [Benchmark],
}

#[derive(Serialize)]
struct PlanReport<'a> {
    model: &'a str,
    available: Option<u64>,
    planned: &'a [Planned],
}

/// What is measured or planned.
enum Subject {
    Files(Box<ModelFiles>),
    Shape(Box<ModelConfig>, Format),
}

impl Subject {
    fn of(args: &BenchArgs, screen: &Screen) -> Result<Self, CliError> {
        let Some(model) = &args.model else {
            let config = shape(&args.shape).ok_or_else(|| CliError::NoShape {
                name: args.shape.clone(),
            })?;
            return Ok(Subject::Shape(Box::new(config), args.weights));
        };
        let found = hub::resolve(model, &mut |_, _| {}).map_err(RunError::from)?;
        found.notice.into_iter().for_each(|n| screen.notice(n));
        let files = ModelFiles::open(&found.path).map_err(RunError::from)?;
        Ok(Subject::Files(Box::new(files)))
    }

    fn model(&self) -> (&ModelConfig, Matrices<'_>) {
        match self {
            Subject::Files(files) => (&files.config, Matrices::Of(&files.weights)),
            Subject::Shape(config, format) => (config, Matrices::In(*format)),
        }
    }

    fn load(&self, name: &str, compute: Compute, screen: &Screen) -> Result<Model, CliError> {
        let may_load = |place| {
            let notice = may_load(name, self.model(), compute, Demand::default(), place)?;
            notice.into_iter().for_each(|n| screen.notice(n));
            Ok(())
        };
        match self {
            Subject::Files(files) => {
                let loaded = Model::load(compute, &files.config, &files.weights, &may_load);
                let (model, notice) = loaded.map_err(RunError::from)?;
                notice.into_iter().for_each(|n| screen.notice(n));
                Ok(model)
            }
            Subject::Shape(config, format) => {
                let model = Model::random(compute, config, *format, 1, &may_load);
                Ok(model.map_err(RunError::from)?)
            }
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The model cannot be found or loaded, or the device cannot be used.
pub fn bench(args: &BenchArgs, screen: &Screen) -> Result<Outcome, CliError> {
    use_threads(args.compute.threads.map(|n| n as usize));
    let name = args.model.as_deref().unwrap_or(&args.shape);
    let compute = Compute {
        device: args.compute.device,
        dtype: args.dtype,
        ..Compute::default()
    };
    let subject = Subject::of(args, screen)?;
    if args.plan {
        return show_plan(name, &subject, compute, screen);
    }
    let model = subject.load(name, compute, screen)?;
    let parts: Vec<Part> = match args.only.is_empty() {
        true => vec![Part::Decode, Part::Prefill, Part::Train],
        false => args.only.iter().map(|part| (*part).into()).collect(),
    };
    let bench = Bench::new(&model)?;
    let device = model.as_ref().device_name();
    screen.print_text(&format!(
        "{name} on {device}: copy {:.0} GB/s, product {:.1} TFLOP/s\n{:<48} {:>10} {:>10} {:>9} {:>6} {:>8}\n",
        bench.rates.bytes_per_second / 1e9,
        bench.rates.operations_per_second / 1e12,
        "", "tokens/s", "ms/step", "floor ms", "share", "peak GB",
    ))?;
    let large = !device.starts_with("cpu");
    let mut failure = None;
    let measured = bench.run(&parts, large, &mut |m| {
        let peak = m.peak_gigabytes.map_or("-".into(), |gb| format!("{gb:.1}"));
        let line = format!(
            "{:<48} {:>10.0} {:>10.2} {:>9.2} {:>5.0}% {:>8}\n",
            m.work,
            m.tokens_per_second,
            m.milliseconds,
            m.floor_milliseconds,
            100.0 * m.share_of_floor,
            peak
        );
        failure = failure.take().or(screen.print_text(&line).err());
    })?;
    if let Some(error) = failure {
        return Err(error);
    }
    if screen.format == OutputFormat::Json {
        let report = BenchReport {
            model: name,
            device,
            rates: bench.rates,
            measured: &measured,
        };
        screen.print_json(&report)?;
    }
    Ok(Outcome::Pass)
}

/// What the model takes in memory, nothing of it loaded.
fn show_plan(
    name: &str,
    subject: &Subject,
    compute: Compute,
    screen: &Screen,
) -> Result<Outcome, CliError> {
    let (config, matrices) = subject.model();
    let place = Model::place_for(compute, config).map_err(RunError::from)?;
    let (planned, available) = plan(config, matrices, place);
    screen.print_text(&plan_text(name, &planned, place, available))?;
    if screen.format == OutputFormat::Json {
        screen.print_json(&PlanReport {
            model: name,
            available,
            planned: &planned,
        })?;
    }
    Ok(Outcome::Pass)
}

fn plan_text(name: &str, planned: &[Planned], place: MemoryOf, available: Option<u64>) -> String {
    let whose = match place {
        MemoryOf::Host => "this machine's",
        MemoryOf::Gpu { .. } => "the GPU's",
    };
    let there = available.map_or(String::new(), |bytes| {
        format!(": {} are available", size(bytes))
    });
    let mut lines = vec![
        format!("{name} in {whose} memory{there}"),
        format!(
            "{:<20} {:>10} {:>10} {:>10} {:>10}  fits",
            "matrices", "weights", "one answer", "gate", "training"
        ),
    ];
    lines.extend(planned.iter().map(|row| {
        let fits = |bytes| available.is_none_or(|there| bytes <= there);
        let fits = match (fits(row.training), fits(row.gate), fits(row.one_answer)) {
            (true, _, _) => "all",
            (_, true, _) => "a gate",
            (_, _, true) => "few answers",
            _ => "-",
        };
        let numbers = [row.weights, row.one_answer, row.gate, row.training].map(size);
        let [weights, one, gate, training] = numbers;
        format!(
            "{:<20} {weights:>10} {one:>10} {gate:>10} {training:>10}  {fits}",
            row.held
        )
    }));
    lines.join("\n") + "\n"
}

impl From<BenchPart> for Part {
    fn from(part: BenchPart) -> Self {
        match part {
            BenchPart::Decode => Part::Decode,
            BenchPart::Prefill => Part::Prefill,
            BenchPart::Train => Part::Train,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    fn benched(arguments: &str) -> Result<Outcome, CliError> {
        let words = ["qeval", "bench"].into_iter().chain(arguments.split(' '));
        let cli = Cli::try_parse_from(words).unwrap();
        let Command::Bench(args) = &cli.command else {
            panic!("{cli:?}")
        };
        bench(args, &Screen::new(&cli.output))
    }

    /// What machine this is takes seconds to find out: a mistake is told before.
    #[test]
    fn an_unknown_shape_is_told_with_those_there_are() {
        let error = benched("--shape smol --quiet").unwrap_err();
        insta::assert_snapshot!(error, @r#"no shape "smol"; `--shape` is qwen2.5-32b, qwen2.5-14b, qwen2.5-7b, 0.5b, or smollm2"#);
        for name in [
            "qwen2.5-32b",
            "qwen2.5-14b",
            "qwen2.5-7b",
            "0.5b",
            "smollm2",
        ] {
            assert!(shape(name).is_some(), "{name} is named and not known");
        }
    }

    #[test]
    fn a_plan_says_what_fits_in_which_format() {
        let config = shape("qwen2.5-7b").unwrap();
        let text = |place| {
            let (planned, _) = plan(&config, Matrices::In(Format::F32), place);
            plan_text("qwen2.5-7b", &planned, place, Some(9_000_000_000))
        };
        let text = text(MemoryOf::Host) + &text(MemoryOf::Gpu { free: 0 });
        insta::assert_snapshot!(text, @r"
        qwen2.5-7b in this machine's memory: 9.0 GB are available
        matrices                weights one answer       gate   training  fits
        f32                     30.5 GB    32.1 GB    34.0 GB    33.6 GB  -
        bf16                    15.2 GB    16.1 GB    18.0 GB    17.6 GB  -
        q8_0                     8.1 GB     8.6 GB    10.5 GB    10.2 GB  few answers
        q4_k                     4.4 GB     4.8 GB     6.6 GB     6.3 GB  all
        nf4                      5.9 GB     6.3 GB     8.1 GB     7.8 GB  all
        qwen2.5-7b in the GPU's memory: 9.0 GB are available
        matrices                weights one answer       gate   training  fits
        bf16                    15.2 GB    16.1 GB    18.0 GB    17.1 GB  -
        q8_0                     8.1 GB     9.7 GB    11.6 GB    10.7 GB  -
        q4_k                     4.8 GB     6.2 GB     8.1 GB     7.2 GB  all
        nf4                      5.9 GB     6.5 GB     8.4 GB     7.5 GB  all
        ");
        assert!(matches!(benched("--plan --quiet"), Ok(Outcome::Pass)));
    }

    #[test]
    fn a_model_goes_before_a_shape() {
        let error = benched("--model /nowhere/model --shape smol --quiet").unwrap_err();
        assert!(matches!(error, CliError::Run(_)), "{error}");
    }
}
