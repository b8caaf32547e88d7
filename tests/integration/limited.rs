//! The CPU with as much memory as a test gives it: what a full GPU does, on any machine.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use qeval::lora::{DropoutKey, Trainable};
use qeval::model::cpu::{LayerKv, Packed};
use qeval::model::{
    Activation, Cpu, Device, Format, HeadNorms, Heads, LayerSite, Linear, LowRank, LowRankGradient,
    Mat, ModelConfig, ModelError, RmsNorm, Span, StoredTensor,
};
use qeval::train::TrainedAdapter;

type CpuAttended = <Cpu as Device>::Attended;
type CpuRows = <Cpu as Device>::Rows;
type CpuRotary = <Cpu as Device>::Rotary;

#[derive(Default)]
struct Memory {
    limit: usize,
    used: usize,
    peak: usize,
    refused: Option<ModelError>,
}

/// A device whose activations take no more bytes than a limit.
#[derive(Clone)]
pub struct Limited(Arc<Mutex<Memory>>);

/// Something in the device's memory.
pub struct Held<T> {
    value: T,
    bytes: usize,
    memory: Limited,
}

impl<T> Drop for Held<T> {
    fn drop(&mut self) {
        self.memory.0.lock().unwrap().used -= self.bytes;
    }
}

impl Limited {
    pub fn new(limit: usize) -> Self {
        Limited(Arc::new(Mutex::new(Memory {
            limit,
            ..Memory::default()
        })))
    }

    /// Most bytes in use so far.
    pub fn peak(&self) -> usize {
        self.0.lock().unwrap().peak
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.0.lock().unwrap().used
    }

    fn is_full(&self) -> bool {
        self.0.lock().unwrap().refused.is_some()
    }

    /// What `make` makes of `bytes` bytes, or `void` where there is no room.
    fn hold<T>(&self, bytes: usize, void: T, make: impl FnOnce() -> T) -> Held<T> {
        let has_room = {
            let memory = &mut *self.0.lock().unwrap();
            if memory.refused.is_none() && memory.used + bytes > memory.limit {
                memory.refused = Some(ModelError::OutOfMemory {
                    wanted: bytes,
                    used: memory.used,
                });
            }
            let has_room = memory.refused.is_none();
            if has_room {
                memory.used += bytes;
                memory.peak = memory.peak.max(memory.used);
            }
            has_room
        };
        Held {
            value: if has_room { make() } else { void },
            bytes: if has_room { bytes } else { 0 },
            memory: self.clone(),
        }
    }

    fn mat(&self, rows: usize, cols: usize, make: impl FnOnce() -> Mat) -> Held<Mat> {
        self.hold(rows * cols * 4, Mat::zeros(0, cols), make)
    }
}

fn norm_of(norm: &RmsNorm<Limited>) -> RmsNorm<Cpu> {
    RmsNorm {
        weight: norm.weight.clone(),
        eps: norm.eps,
    }
}

/// Calls `f` with norms as the CPU has them.
fn with_norms<T>(norms: &HeadNorms<'_, Limited>, f: impl FnOnce(HeadNorms<'_, Cpu>) -> T) -> T {
    let [queries, keys] = [norms.queries, norms.keys].map(|norm| norm.map(norm_of));
    f(HeadNorms {
        heads: norms.heads,
        queries: queries.as_ref(),
        keys: keys.as_ref(),
        window: norms.window,
    })
}

impl Device for Limited {
    type Mat = Held<Mat>;
    type Weight = Packed;
    type Vector = Vec<f32>;
    type Rotary = CpuRotary;
    type Kv = LayerKv;
    type Rows = CpuRows;
    type Attended = Held<Option<CpuAttended>>;
    type Factored = Infallible;
    type Total = f64;

    fn loss_rows(&self) -> usize {
        Cpu.loss_rows()
    }

    fn had_room(&self) -> Result<(), ModelError> {
        match self.0.lock().unwrap().refused.take() {
            None => Ok(()),
            Some(error) => Err(error),
        }
    }

    fn supports(&self, config: &ModelConfig) -> Result<(), ModelError> {
        Cpu.supports(config)
    }

    fn weight(&self, parts: &[StoredTensor<'_>]) -> Result<Packed, ModelError> {
        Cpu.weight(parts)
    }

    fn random_weight(
        &self,
        n: usize,
        k: usize,
        format: Format,
        seed: u64,
    ) -> Result<Packed, ModelError> {
        Cpu.random_weight(n, k, format, seed)
    }

    fn vector(&self, values: &[f32]) -> Result<Vec<f32>, ModelError> {
        Cpu.vector(values)
    }

    fn rotary(&self, inv_freq: &[f32], positions: usize) -> Result<CpuRotary, ModelError> {
        Cpu.rotary(inv_freq, positions)
    }

    fn kv(&self, heads: Heads, slots: usize, capacity: usize) -> Result<LayerKv, ModelError> {
        Cpu.kv(heads, slots, capacity)
    }

    fn copy_kv(&self, kv: &mut LayerKv, from: usize, to: usize, positions: usize) {
        Cpu.copy_kv(kv, from, to, positions);
    }

    fn bytes(&self, weight: &Packed) -> usize {
        Cpu.bytes(weight)
    }

    fn rows(&self, tokens: &[u32], spans: &[Span], capacity: usize) -> CpuRows {
        Cpu.rows(tokens, spans, capacity)
    }

    fn embed(&self, embedding: &Packed, rows: &CpuRows, scale: f32) -> Held<Mat> {
        let x = Cpu.embed(embedding, rows, scale);
        self.mat(x.rows(), x.cols, || x)
    }

    fn zeros(&self, rows: usize, cols: usize) -> Held<Mat> {
        self.mat(rows, cols, || Mat::zeros(rows, cols))
    }

    fn height(&self, x: &Held<Mat>) -> usize {
        x.value.rows()
    }

    fn width(&self, x: &Held<Mat>) -> usize {
        x.value.cols
    }

    fn share(&self, x: &Held<Mat>) -> Held<Mat> {
        self.upload(&x.value)
    }

    fn download(&self, x: &Held<Mat>) -> Mat {
        x.value.clone()
    }

    fn upload(&self, x: &Mat) -> Held<Mat> {
        self.mat(x.rows(), x.cols, || x.clone())
    }

    fn gather(&self, x: &Held<Mat>, rows: &[usize]) -> Held<Mat> {
        self.mat(rows.len(), x.value.cols, || x.value.gather(rows))
    }

    fn scatter_add(&self, x: &Held<Mat>, rows: &[usize], target: &mut Held<Mat>) {
        if !self.is_full() {
            Cpu.scatter_add(&x.value, rows, &mut target.value);
        }
    }

    fn sum(&self, x: &Held<Mat>, y: Held<Mat>) -> Held<Mat> {
        let (rows, cols) = (x.value.rows(), x.value.cols);
        self.mat(rows, cols, || Cpu.sum(&x.value, y.value.clone()))
    }

    fn norm(&self, norm: &RmsNorm<Limited>, x: &Held<Mat>) -> Held<Mat> {
        let (rows, cols) = (x.value.rows(), x.value.cols);
        self.mat(rows, cols, || Cpu.norm(&norm_of(norm), &x.value))
    }

    fn sum_norm(
        &self,
        norm: &RmsNorm<Limited>,
        x: &Held<Mat>,
        y: Held<Mat>,
    ) -> (Held<Mat>, Held<Mat>) {
        let sum = self.sum(x, y);
        let normed = self.norm(norm, &sum);
        (sum, normed)
    }

    fn norm_backward(
        &self,
        norm: &RmsNorm<Limited>,
        x: &Held<Mat>,
        dy: &Held<Mat>,
        dx: &mut Held<Mat>,
    ) {
        if !self.is_full() {
            Cpu.norm_backward(&norm_of(norm), &x.value, &dy.value, &mut dx.value);
        }
    }

    fn product(
        &self,
        linear: &Linear<Limited>,
        x: &Held<Mat>,
        share: Option<&Infallible>,
    ) -> Held<Mat> {
        self.mat(x.value.rows(), linear.weight.n, || {
            let linear = Linear::<Cpu> {
                weight: linear.weight.clone(),
                bias: linear.bias.clone(),
                place: linear.place,
            };
            Cpu.product(&linear, &x.value, share)
        })
    }

    fn product_backward(
        &self,
        weight: &Packed,
        dy: &Held<Mat>,
        share: Option<&Infallible>,
    ) -> Held<Mat> {
        self.mat(dy.value.rows(), weight.k, || {
            Cpu.product_backward(weight, &dy.value, share)
        })
    }

    fn logits(&self, head: &Packed, x: &Held<Mat>) -> Held<Mat> {
        self.mat(x.value.rows(), head.n, || Cpu.logits(head, &x.value))
    }

    fn attend(
        &self,
        norms: HeadNorms<'_, Limited>,
        qkv: Held<Mat>,
        rows: &CpuRows,
        rotary: &CpuRotary,
        kv: Option<&mut LayerKv>,
    ) -> (Held<Mat>, Held<Option<CpuAttended>>) {
        let (height, heads) = (qkv.value.rows(), norms.heads);
        let mut attended = self.hold(qkv.bytes, None, || None);
        let mixed = self.mat(height, heads.queries * heads.dim, || {
            let qkv = qkv.value.clone();
            let (mixed, left) =
                with_norms(&norms, |norms| Cpu.attend(norms, qkv, rows, rotary, kv));
            attended.value = Some(left);
            mixed
        });
        (mixed, attended)
    }

    fn attend_backward(
        &self,
        norms: HeadNorms<'_, Limited>,
        mixed: &Held<Mat>,
        of: &Held<Option<CpuAttended>>,
        d_mixed: &Held<Mat>,
        rows: &CpuRows,
        rotary: &CpuRotary,
    ) -> Held<Mat> {
        self.mat(mixed.value.rows(), norms.heads.row(), || {
            let (mixed, d_mixed) = (&mixed.value, &d_mixed.value);
            let of = of.value.as_ref().unwrap();
            with_norms(&norms, |norms| {
                Cpu.attend_backward(norms, mixed, of, d_mixed, rows, rotary)
            })
        })
    }

    fn gate(&self, gate_up: &Held<Mat>, activation: Activation) -> Held<Mat> {
        let x = &gate_up.value;
        self.mat(x.rows(), x.cols / 2, || Cpu.gate(x, activation))
    }

    fn gate_backward(
        &self,
        gate_up: &Held<Mat>,
        d_active: &Held<Mat>,
        activation: Activation,
    ) -> Held<Mat> {
        let x = &gate_up.value;
        self.mat(x.rows(), x.cols, || {
            Cpu.gate_backward(x, &d_active.value, activation)
        })
    }

    fn cross_entropy(&self, logits: &mut Held<Mat>, labels: &[u32], weight: f32, total: &mut f64) {
        if !self.is_full() {
            Cpu.cross_entropy(&mut logits.value, labels, weight, total);
        }
    }

    fn divergence(
        &self,
        logits: &mut Held<Mat>,
        target: &mut Held<Mat>,
        weight: f32,
        total: &mut f64,
    ) {
        if !self.is_full() {
            Cpu.divergence(&mut logits.value, &mut target.value, weight, total);
        }
    }

    fn total(&self, total: f64) -> f64 {
        total
    }
}

/// A trained adapter on the limited device.
pub struct Carried(pub Trainable);

impl LowRank<Limited> for Carried {
    fn add(&mut self, place: LayerSite, x: &Held<Mat>, y: &mut Held<Mat>) {
        if !x.memory.is_full() {
            LowRank::<Cpu>::add(&mut self.0, place, &x.value, &mut y.value);
        }
    }

    fn reads(&self, place: LayerSite) -> bool {
        LowRank::<Cpu>::reads(&self.0, place)
    }
}

impl LowRankGradient<Limited> for Carried {
    fn backward(
        &mut self,
        place: LayerSite,
        x: &Held<Mat>,
        kept: Option<&Infallible>,
        dy: &Held<Mat>,
        dx: Option<&mut Held<Mat>>,
    ) {
        if !x.memory.is_full() {
            let dx = dx.map(|dx| &mut dx.value);
            LowRankGradient::<Cpu>::backward(&mut self.0, place, &x.value, kept, &dy.value, dx);
        }
    }

    fn first_layer(&self) -> usize {
        LowRankGradient::<Cpu>::first_layer(&self.0)
    }
}

impl TrainedAdapter<Limited> for Carried {
    fn low_rank(&mut self) -> &mut dyn LowRankGradient<Limited> {
        self
    }

    fn clear_gradients(&mut self) {
        self.0.clear_gradients();
    }

    fn set_dropout(&mut self, key: Option<DropoutKey>) {
        self.0.dropout_key = key;
    }
}
