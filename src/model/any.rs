//! A decoder wherever it runs: what callers hold that do not care.

use super::cpu::Cpu;
use super::decoder::Decoder;
use super::dtype::Dtype;
use super::{Footprint, Format, Matrices, MemoryOf, ModelConfig, ModelError, Storage, Weights};
#[cfg(feature = "gpu")]
use crate::gpu::Cuda;
use crate::half_type::HalfType;

/// Where a model is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A GPU when there is one that runs the model, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// This NVIDIA GPU, counted from 0, or an error.
    Gpu(usize),
    /// Several, each of which has the whole base: answers are dealt to them, the first one trains.
    Gpus(GpuSet),
}

/// At least two GPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuSet(u64);

impl GpuSet {
    /// Of their numbers; `None` for fewer than two, one that is named twice, and one from 64 on.
    pub fn new(ordinals: &[usize]) -> Option<Self> {
        let add = |set: u64, &ordinal: &usize| {
            let bit = 1u64.checked_shl(u32::try_from(ordinal).ok()?)?;
            (set & bit == 0).then_some(set | bit)
        };
        let set = ordinals.iter().try_fold(0, add)?;
        (ordinals.len() > 1).then_some(GpuSet(set))
    }

    /// Their numbers, the lowest first.
    pub fn ordinals(self) -> impl Iterator<Item = usize> {
        (0..u64::BITS as usize).filter(move |ordinal| self.0 >> ordinal & 1 == 1)
    }

    /// The lowest number, of the one that trains.
    pub fn first(self) -> usize {
        self.0.trailing_zeros() as usize
    }
}

impl DeviceChoice {
    /// The first of several, and the others each alone.
    pub fn apart(self) -> (Self, Vec<Self>) {
        match self {
            DeviceChoice::Gpus(set) => {
                let others = set.ordinals().skip(1).map(DeviceChoice::Gpu);
                (DeviceChoice::Gpu(set.first()), others.collect())
            }
            one => (one, Vec::new()),
        }
    }
}

/// Where a model is to run, and in what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compute {
    /// Where.
    pub device: DeviceChoice,
    /// In what, on a GPU; a CPU computes in F32.
    pub dtype: Dtype,
    /// How matrices are held.
    pub storage: Storage,
}

impl Compute {
    /// What would compute, for digests, without loading anything: a GPU by its name and what it is
    /// asked to compute in, else the CPU, which computes in F32 whatever it is asked; and whether
    /// weights are quantized, which alone of how they are held changes an answer.
    pub fn engine(self) -> String {
        let place = match self.gpu_name() {
            Some(name) => format!("gpu {name} {:?}", self.dtype),
            None => "cpu f32".into(),
        };
        match self.storage {
            Storage::Stored | Storage::Widened => place,
            Storage::Nf4 => format!("{place} nf4"),
        }
    }

    /// The name of a GPU that is there and was not asked for; `None` without the feature `gpu`.
    pub fn unused_gpu(self) -> Option<String> {
        match self.device {
            DeviceChoice::Cpu => Compute {
                device: DeviceChoice::Auto,
                ..self
            }
            .gpu_name(),
            DeviceChoice::Auto | DeviceChoice::Gpu(_) | DeviceChoice::Gpus(_) => None,
        }
    }

    #[cfg(feature = "gpu")]
    fn gpu_name(self) -> Option<String> {
        match self.device.apart().0 {
            DeviceChoice::Cpu => None,
            // One that is not there is an error when the model is loaded.
            DeviceChoice::Gpu(ordinal) => Cuda::name_of(ordinal).or(Some(ordinal.to_string())),
            DeviceChoice::Auto | DeviceChoice::Gpus(_) => Cuda::name_of(0),
        }
    }

    #[cfg(not(feature = "gpu"))]
    fn gpu_name(self) -> Option<String> {
        match self.device.apart().0 {
            DeviceChoice::Gpu(ordinal) => Some(ordinal.to_string()),
            _ => None,
        }
    }
}

/// What may refuse a place before anything is loaded there.
pub type MayLoad<'a> = &'a (dyn Fn(MemoryOf) -> Result<(), ModelError> + Sync);

/// A loaded base model.
pub enum Model {
    /// On the CPU, in F32.
    Cpu(Decoder<Cpu>),
    /// On an NVIDIA GPU, which computes in 16 bits.
    #[cfg(feature = "gpu")]
    Gpu(Decoder<Cuda>),
}

/// A borrowed [`Model`].
#[derive(Clone, Copy)]
pub enum ModelRef<'a> {
    /// On the CPU.
    Cpu(&'a Decoder<Cpu>),
    /// On an NVIDIA GPU.
    #[cfg(feature = "gpu")]
    Gpu(&'a Decoder<Cuda>),
}

impl Model {
    /// Reads every weight into the memory of the device that is chosen. Returns also why a
    /// GPU was passed over, where that may surprise. `may_load` is asked of a place before any
    /// weight is read into it.
    ///
    /// # Errors
    /// A missing tensor, a wrong shape, a NaN; a GPU that was asked for and cannot be used; what
    /// `may_load` says.
    pub fn load(
        compute: Compute,
        config: &ModelConfig,
        weights: &Weights,
        may_load: MayLoad<'_>,
    ) -> Result<(Self, Option<String>), ModelError> {
        let Compute { device, dtype, .. } = compute;
        config.check_shapes(weights)?;
        let (gpu, notice) = open(device, dtype.or(weights.half_type()), config)?;
        let on_cpu = |notice| {
            may_load(MemoryOf::Host)?;
            Ok((Model::Cpu(Decoder::load(config, weights)?), notice))
        };
        #[cfg(feature = "gpu")]
        if let Some(cuda) = gpu {
            let loaded =
                may_load(place_of(&cuda)).and_then(|()| Decoder::load_on(cuda, config, weights));
            return match loaded {
                Ok(decoder) => Ok((Model::Gpu(decoder), None)),
                Err(error @ (ModelError::OutOfMemory { .. } | ModelError::TooLarge(_)))
                    if device == DeviceChoice::Auto =>
                {
                    on_cpu(Some(format!("{error}; running on the CPU")))
                }
                Err(error) => Err(error),
            };
        }
        #[cfg(not(feature = "gpu"))]
        let () = gpu.unwrap_or_default();
        on_cpu(notice)
    }

    /// Where a model would be loaded.
    ///
    /// # Errors
    /// A GPU that was asked for and cannot be used.
    pub fn place_for(compute: Compute, config: &ModelConfig) -> Result<MemoryOf, ModelError> {
        let (gpu, _) = open(compute.device, HalfType::Bfloat16, config)?;
        #[cfg(feature = "gpu")]
        if let Some(cuda) = gpu {
            return Ok(place_of(&cuda));
        }
        #[cfg(not(feature = "gpu"))]
        let () = gpu.unwrap_or_default();
        Ok(MemoryOf::Host)
    }

    /// A model of random weights, for measuring a shape: stored in a format where the device computes
    /// with it, else on a GPU in bf16 when nothing else is asked for.
    ///
    /// # Errors
    /// Too little memory; a GPU that was asked for and cannot be used; what `may_load` says.
    pub fn random(
        compute: Compute,
        config: &ModelConfig,
        format: Format,
        seed: u64,
        may_load: MayLoad<'_>,
    ) -> Result<Self, ModelError> {
        let Compute { device, dtype, .. } = compute;
        let (gpu, _) = open(device, dtype.or(HalfType::Bfloat16), config)?;
        #[cfg(feature = "gpu")]
        if let Some(cuda) = gpu {
            may_load(place_of(&cuda))?;
            return Ok(Model::Gpu(Decoder::random(cuda, config, format, seed)?));
        }
        #[cfg(not(feature = "gpu"))]
        let () = gpu.unwrap_or_default();
        may_load(MemoryOf::Host)?;
        Ok(Model::Cpu(Decoder::random(Cpu, config, format, seed)?))
    }

    /// Bytes of weights that a step reads: the layers', and the head's.
    pub fn bytes_read(&self) -> [usize; 2] {
        match self {
            Model::Cpu(decoder) => decoder.bytes_read(),
            #[cfg(feature = "gpu")]
            Model::Gpu(decoder) => decoder.bytes_read(),
        }
    }

    /// Borrows it.
    pub fn as_ref(&self) -> ModelRef<'_> {
        self.into()
    }

    /// Sizes and flags.
    pub fn config(&self) -> &ModelConfig {
        self.as_ref().config()
    }
}

impl<'a> ModelRef<'a> {
    /// Sizes and flags.
    pub fn config(self) -> &'a ModelConfig {
        match self {
            ModelRef::Cpu(decoder) => decoder.config(),
            #[cfg(feature = "gpu")]
            ModelRef::Gpu(decoder) => decoder.config(),
        }
    }

    /// The numbers that it computes in: `f32`, `bf16`, or `f16`.
    pub fn number_type(self) -> &'static str {
        match self {
            ModelRef::Cpu(_) => "f32",
            #[cfg(feature = "gpu")]
            ModelRef::Gpu(decoder) => decoder.device().half_type().name(),
        }
    }

    /// Where it runs and in what, for people and records.
    pub fn device_name(self) -> String {
        let device = match self {
            ModelRef::Cpu(_) => "cpu",
            #[cfg(feature = "gpu")]
            ModelRef::Gpu(decoder) => decoder.device().name(),
        };
        format!("{device} {}", self.number_type())
    }

    /// Sequences that it answers at once when nothing else is asked for.
    pub fn usual_slots(self) -> usize {
        self.place().usual_slots()
    }

    /// Where its weights are; of a GPU, with what is free now.
    pub fn place(self) -> MemoryOf {
        match self {
            ModelRef::Cpu(_) => MemoryOf::Host,
            #[cfg(feature = "gpu")]
            ModelRef::Gpu(decoder) => place_of(decoder.device()),
        }
    }

    /// What it takes in memory beside its weights.
    pub fn footprint(self) -> Footprint<'a> {
        Footprint::new(self.config(), self.place(), Matrices::In(Format::F32))
    }
}

impl<'a> From<&'a Model> for ModelRef<'a> {
    fn from(model: &'a Model) -> Self {
        match model {
            Model::Cpu(decoder) => ModelRef::Cpu(decoder),
            #[cfg(feature = "gpu")]
            Model::Gpu(decoder) => ModelRef::Gpu(decoder),
        }
    }
}

impl<'a> From<&'a Decoder<Cpu>> for ModelRef<'a> {
    fn from(decoder: &'a Decoder<Cpu>) -> Self {
        ModelRef::Cpu(decoder)
    }
}

#[cfg(feature = "gpu")]
impl<'a> From<&'a Decoder<Cuda>> for ModelRef<'a> {
    fn from(decoder: &'a Decoder<Cuda>) -> Self {
        ModelRef::Gpu(decoder)
    }
}

#[cfg(feature = "gpu")]
fn place_of(cuda: &Cuda) -> MemoryOf {
    MemoryOf::Gpu {
        free: cuda.memory().free as u64,
    }
}

/// The GPU to use, if any, and why none, where that may surprise.
#[cfg(feature = "gpu")]
fn open(
    choice: DeviceChoice,
    half_type: HalfType,
    config: &ModelConfig,
) -> Result<(Option<Cuda>, Option<String>), ModelError> {
    use super::device::Device;
    let opened = |ordinal| {
        let cuda = Cuda::open(ordinal, half_type)?;
        cuda.supports(config)?;
        Ok(cuda)
    };
    match choice.apart().0 {
        DeviceChoice::Cpu => Ok((None, None)),
        DeviceChoice::Gpu(ordinal) => opened(ordinal).map(|cuda| (Some(cuda), None)),
        // A machine without a GPU is no surprise.
        DeviceChoice::Auto if !Cuda::driver_is_there() => Ok((None, None)),
        DeviceChoice::Auto | DeviceChoice::Gpus(_) => match opened(0) {
            Ok(cuda) => Ok((Some(cuda), None)),
            Err(error) => Ok((None, Some(format!("{error}; running on the CPU")))),
        },
    }
}

#[cfg(not(feature = "gpu"))]
fn open(
    choice: DeviceChoice,
    _: HalfType,
    _: &ModelConfig,
) -> Result<(Option<()>, Option<String>), ModelError> {
    match choice {
        DeviceChoice::Gpu(_) | DeviceChoice::Gpus(_) => Err(ModelError::Gpu {
            problem: "this qeval was built without the feature `gpu`; build it with \
                      `--features gpu`, or give `--device cpu`"
                .into(),
        }),
        DeviceChoice::Auto | DeviceChoice::Cpu => Ok((None, None)),
    }
}
