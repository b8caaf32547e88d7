//! Arguments of `bench`, and the name of a device.

use clap::{Args, ValueEnum};

use super::args::ComputeArgs;
use crate::model::{DeviceChoice, Dtype};

/// Arguments of `bench`.
#[derive(Debug, Clone, PartialEq, Args)]
pub struct BenchArgs {
    /// Random weights of a shape: qwen2.5-7b, 0.5b, or smollm2
    #[arg(
        long,
        value_name = "SHAPE",
        default_value = "smollm2",
        help_heading = "Model"
    )]
    pub shape: String,
    /// A real model instead: a Hugging Face folder or id, or a GGUF file [default: random weights]
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    pub model: Option<String>,
    /// What a GPU computes in: auto, bfloat16, or float16 [default: as a real model is stored;
    /// bfloat16 for random weights]
    #[arg(
        long,
        value_name = "DTYPE",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Model"
    )]
    pub dtype: Dtype,
    /// Only these measurements; may be repeated [default: all]
    #[arg(
        long,
        value_name = "decode|prefill|train",
        hide_possible_values = true,
        value_enum,
        value_delimiter = ','
    )]
    pub only: Vec<BenchPart>,
    /// How to compute.
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// A kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum BenchPart {
    /// Tokens of many answers.
    Decode,
    /// Prompts.
    Prefill,
    /// Steps of training.
    Train,
}

/// Reads the name of a device.
///
/// # Errors
/// What it is not, and what it may be.
pub fn device(name: &str) -> Result<DeviceChoice, String> {
    match name {
        "auto" => Ok(DeviceChoice::Auto),
        "cpu" => Ok(DeviceChoice::Cpu),
        "gpu" => Ok(DeviceChoice::Gpu(0)),
        _ => match name.strip_prefix("gpu:").map(str::parse) {
            Some(Ok(ordinal)) => Ok(DeviceChoice::Gpu(ordinal)),
            _ => Err("give auto, cpu, gpu, or gpu:1 for the second GPU".into()),
        },
    }
}
