//! Adapters on a GPU: laid out for answering, and as matrices that are trained there.

use crate::gpu::Cuda;
use crate::model::cuda::{AdapterTable, Dropout, FactorPart, Factors, SiteFactors};
use crate::model::{ModelError, Place, Projection, Site};

use super::loaded::LoadedAdapter;
use super::trainable::{DropoutKey, Trainable};

/// Uploads adapters for answering; rows name them by their place in the list.
///
/// # Errors
/// The GPU's memory is full.
pub fn adapter_table(cuda: &Cuda, adapters: &[LoadedAdapter]) -> Result<AdapterTable, ModelError> {
    let lists: Vec<Vec<SiteFactors>> = adapters.iter().map(LoadedAdapter::site_factors).collect();
    AdapterTable::new(cuda, &lists)
}

/// An adapter that is trained on a GPU. The host's [`Trainable`] it was made from stays the one
/// that checkpoints are written from: [`GpuTrainable::fetch`] brings it up to date.
pub struct GpuTrainable {
    factors: Factors,
    rate: f32,
}

impl GpuTrainable {
    /// Uploads the matrices.
    ///
    /// # Errors
    /// The GPU's memory is full.
    pub fn new(cuda: &Cuda, host: &Trainable) -> Result<Self, ModelError> {
        let parts: Vec<FactorPart> = host
            .modules()
            .map(|(id, module)| FactorPart {
                place: Place {
                    layer: id.layer,
                    site: Site::of(id.projection),
                },
                output: module.output(),
                scale: module.scale,
                module: (id.layer * Projection::ALL.len()) as u32 + id.projection as u32,
                rank: module.rank,
                a: module.a.value.clone(),
                b: module.b.value.clone(),
            })
            .collect();
        Ok(GpuTrainable {
            factors: Factors::new(cuda, &parts)?,
            rate: host.dropout(),
        })
    }

    /// The matrices on the device.
    pub fn factors(&mut self) -> &mut Factors {
        &mut self.factors
    }

    /// Sets where dropout's draws are; `None` while validating.
    pub fn set_dropout(&mut self, key: Option<DropoutKey>) {
        self.factors.dropout = key.map(|key| Dropout {
            rate: self.rate,
            seed: key.seed,
            step: key.step,
            micro_batch: key.micro_batch,
        });
    }

    /// Copies the matrices to the host's.
    pub fn fetch(&self, host: &mut Trainable) {
        let values = self.factors.values();
        host.update(|i, matrix| matrix.value.copy_from_slice(&values[i]));
    }

    /// Copies the gradients to the host's.
    pub fn fetch_gradients(&self, host: &mut Trainable) {
        let gradients = self.factors.gradients();
        host.update(|i, matrix| matrix.gradient.copy_from_slice(&gradients[i]));
    }
}
