//! `qeval bench`: how fast this machine is, beside its floor.

use serde::Serialize;

use crate::exit::Outcome;
use crate::hub;
use crate::model::{Compute, Model, ModelConfig, ModelFiles, Weights};
use crate::project::use_threads;
use crate::run::{Bench, Benchmark, Demand, Part, RunError, may_load, shape};

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
    let may_load = |model: (&ModelConfig, Option<&Weights>), place| {
        let notice = may_load(name, model, compute, Demand::default(), place)?;
        notice.into_iter().for_each(|n| screen.notice(n));
        Ok(())
    };
    let model = match &args.model {
        Some(model) => {
            let found = hub::resolve(model, &mut |_, _| {}).map_err(RunError::from)?;
            found.notice.into_iter().for_each(|n| screen.notice(n));
            let files = ModelFiles::open(&found.path).map_err(RunError::from)?;
            let config = &files.config;
            let may_load = |place| may_load((config, Some(&files.weights)), place);
            let loaded = Model::load(compute, config, &files.weights, &may_load);
            let (model, notice) = loaded.map_err(RunError::from)?;
            notice.into_iter().for_each(|n| screen.notice(n));
            model
        }
        None => {
            let config = shape(&args.shape).ok_or_else(|| CliError::NoShape {
                name: args.shape.clone(),
            })?;
            let may_load = |place| may_load((&config, None), place);
            Model::random(compute, &config, 1, &may_load).map_err(RunError::from)?
        }
    };
    let parts: Vec<Part> = match args.only.is_empty() {
        true => vec![Part::Decode, Part::Prefill, Part::Train],
        false => args.only.iter().map(|part| (*part).into()).collect(),
    };
    let bench = Bench::new(model.as_ref())?;
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
        insta::assert_snapshot!(error, @r#"no shape "smol"; `--shape` is qwen2.5-7b, 0.5b, or smollm2"#);
        for name in ["qwen2.5-7b", "0.5b", "smollm2"] {
            assert!(shape(name).is_some(), "{name} is named and not known");
        }
    }

    #[test]
    fn a_model_goes_before_a_shape() {
        let error = benched("--model /nowhere/model --shape smol --quiet").unwrap_err();
        assert!(matches!(error, CliError::Run(_)), "{error}");
    }
}
