//! Arguments of what looks for the cause of a loss: `adapter ablate`, `bisect`, `why`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::MeasureArgs;
use crate::lora::AdapterPart;
use crate::project::Overrides;

/// Arguments of `adapter ablate`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct AdapterAblateArgs {
    /// A PEFT folder or a checkpoint
    #[arg(value_name = "ADAPTER")]
    pub subject: String,
    /// What is switched off: bands of layers, kinds of modules, or both
    #[arg(long, value_name = "layers|modules|both", value_enum, hide_possible_values = true, default_value_t = AblateBy::Both, help_heading = "Parts")]
    pub by: AblateBy,
    /// Bands that the layers are divided into; as many as there are layers is one a layer
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Parts")]
    pub layers: u32,
    /// Switch off this part alone, such as 20-24, 7, or v_proj [default: every part, one at a time]
    #[arg(long, value_name = "PART", value_parser = part, help_heading = "Parts")]
    pub without: Option<AdapterPart>,
    /// Ask every probe, not the lost ones and as many that were kept alone [default: no]
    #[arg(long, help_heading = "Probes")]
    pub all: bool,
    /// Also write the adapter without the part that carries most of the harm, or without that of
    /// --without; nothing may be there [default: no]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// What it shares with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

/// Parts of an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AblateBy {
    /// Bands of layers.
    Layers,
    /// Kinds of linear layers, the embedding, the head.
    Modules,
    /// Each of them.
    Both,
}

fn part(text: &str) -> Result<AdapterPart, String> {
    text.parse()
}

/// Arguments of `bisect`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct BisectArgs {
    /// A run, or a folder with checkpoint-STEP folders of any trainer
    #[arg(value_name = "RUN")]
    pub run: String,
    /// Judge every checkpoint at this multiple of its scale
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = scale, help_heading = "Judging")]
    pub scale: f64,
    /// The largest tolerated loss over all `keep` probes, above 0 and at most 1 [default: that of
    /// the run or the configuration, else 0.03]
    #[arg(long, value_name = "X", value_parser = super::share, help_heading = "Judging")]
    pub margin: Option<f64>,
    /// What it shares with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

fn scale(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(scale) if scale > 0.0 && f64::is_finite(scale) => Ok(scale),
        _ => Err("give a number above 0, such as 0.5".into()),
    }
}

/// Arguments of `why`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct WhyArgs {
    /// The probe: SUITE::PROBE, or its own name where no other has it
    #[arg(value_name = "PROBE")]
    pub probe: String,
    /// Who lost it [default: as for `gate`: what the configuration says, else the best checkpoint of
    /// the latest run that trained, else its newest]
    #[arg(value_name = "CANDIDATE")]
    pub candidate: Option<String>,
    /// What it shares with other commands.
    #[command(flatten)]
    pub measure: MeasureArgs,
}

impl BisectArgs {
    /// What a project is opened with.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            margin: self.margin,
            ..self.measure.overrides()
        }
    }
}

impl WhyArgs {
    /// What a project is opened with: the probe alone is asked.
    pub fn overrides(&self) -> Overrides {
        Overrides {
            probes: vec![self.probe.clone()],
            ..self.measure.overrides()
        }
    }
}
