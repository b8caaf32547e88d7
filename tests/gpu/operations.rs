//! One operation at a time, on random numbers that both devices hold exactly.

use qeval::generate::Sampling;
use qeval::gpu::{Cuda, Numbers};
use qeval::model::cuda::{Next, SingleRows};
use qeval::model::{
    Activation, Cpu, Device, HeadNorms, Heads, LayerSite, Linear, Mat, RmsNorm, Site, Span,
    StoredTensor,
};

use crate::support::{assert_close, down, gpu, gpus, numbers};

const PLACE: LayerSite = LayerSite {
    layer: 0,
    site: Site::Qkv,
};

fn norms<D: Device>(device: &D, n: usize) -> RmsNorm<D> {
    let weight: Vec<f32> = numbers(1, n, 3)
        .data
        .iter()
        .map(|x| 1.0 + 0.5 * x)
        .collect();
    RmsNorm {
        weight: device.vector(&weight).unwrap(),
        eps: 1e-5,
    }
}

pub fn norm_with_residual_and_its_gradient() {
    let cuda = gpu();
    for n in [64, 576, 3584, 18944] {
        let (x, y, dx) = (numbers(37, n, 1), numbers(37, n, 2), numbers(37, n, 4));
        let (c, g) = (norms(&Cpu, n), norms(&cuda, n));
        let (sum, normed) = Cpu.sum_norm(&c, &x, y.clone());
        let (gpu_sum, gpu_normed) = cuda.sum_norm(&g, &cuda.upload(&x), cuda.upload(&y));
        assert_close("sum", &down(&cuda, &gpu_sum), &sum.data, 4e-3);
        assert_close("norm of sum", &down(&cuda, &gpu_normed), &normed.data, 5e-3);
        let plain = cuda.norm(&g, &cuda.upload(&x));
        assert_close("norm", &down(&cuda, &plain), &Cpu.norm(&c, &x).data, 4e-3);
        let (mut expected, mut found) = (dx.clone(), cuda.upload(&dx));
        Cpu.norm_backward(&c, &x, &y, &mut expected);
        cuda.norm_backward(&g, &cuda.upload(&x), &cuda.upload(&y), &mut found);
        assert_close("norm backward", &down(&cuda, &found), &expected.data, 4e-3);
    }
}

pub fn gate_and_its_gradient() {
    let cuda = gpu();
    for n in [96, 1536, 18944] {
        let (x, dy) = (numbers(19, 2 * n, 1), numbers(19, n, 2));
        let up = cuda.upload(&x);
        for activation in [Activation::Silu, Activation::GeluTanh] {
            let found = cuda.gate(&up, activation);
            let expected = Cpu.gate(&x, activation);
            assert_close("gate", &down(&cuda, &found), &expected.data, 4e-3);
            let found = cuda.gate_backward(&up, &cuda.upload(&dy), activation);
            let expected = Cpu.gate_backward(&x, &dy, activation);
            assert_close("gate backward", &down(&cuda, &found), &expected.data, 4e-3);
        }
    }
}

const SILU: Activation = Activation::Silu;

/// A power of two keeps bf16's bits.
fn scaled(mut x: Mat, by: f32) -> Mat {
    x.data.iter_mut().for_each(|x| *x *= by);
    x
}

fn linear<D: Device>(device: &D, w: &Mat, bias: Option<&[f32]>) -> Linear<D> {
    Linear {
        weight: device.weight(&[StoredTensor::of(&w.data, w.cols)]).unwrap(),
        bias: bias.map(|b| device.vector(b).unwrap()),
        place: PLACE,
    }
}

pub fn a_product_with_the_gate_in_it() {
    for cuda in gpus() {
        // Less than a tile, parts of tiles, more pairs of tiles than one band has, and no multiple
        // of a box's columns.
        for (rows, n, hidden) in [
            (1, 96, 64),
            (300, 328, 200),
            (4400, 264, 72),
            (130, 4864, 896),
        ] {
            let (x, dy) = (numbers(rows, 2 * n, 1), numbers(rows, hidden, 2));
            let w = numbers(hidden, n, 3);
            let (c, g) = (linear(&Cpu, &w, None), linear(&cuda, &w, None));
            let (up, d_up) = (cuda.upload(&x), cuda.upload(&dy));
            let found = cuda.product_gate_backward(&g.weight, (&up, SILU), &d_up, None);
            assert_close(
                "product and gate backward",
                &down(&cuda, &found),
                &Cpu.product_gate_backward(&c.weight, (&x, SILU), &dy, None)
                    .data,
                4e-3,
            );
            let (x, w) = (numbers(rows, hidden, 4), numbers(2 * n, hidden, 5));
            let (c, mut g) = (linear(&Cpu, &w, None), linear(&cuda, &w, None));
            g.place.site = Site::GateUp;
            let (gate_up, active) = cuda.product_gate(&g, &cuda.upload(&x), None, SILU);
            let (expected, expected_active) = Cpu.product_gate(&c, &x, None, SILU);
            assert_close("product", &down(&cuda, &gate_up), &expected.data, 4e-3);
            let found = down(&cuda, &active);
            assert_close("product and gate", &found, &expected_active.data, 1e-2);
            let again = down(&cuda, &cuda.gate(&gate_up, SILU));
            assert_eq!(found, again, "the gate alone gives the same bits");
        }
    }
}

pub fn products_both_ways() {
    let cuda = gpu();
    for (rows, n, k, biased) in [
        (1, 96, 64, false),
        (7, 1000, 576, true),
        (64, 576, 1536, false),
        (300, 1024, 256, true),
    ] {
        let (w, x, dy) = (numbers(n, k, 1), numbers(rows, k, 2), numbers(rows, n, 3));
        let bias = numbers(1, n, 4).data;
        let bias = biased.then_some(&bias[..]);
        let (c, g) = (linear(&Cpu, &w, bias), linear(&cuda, &w, bias));
        let found = down(&cuda, &cuda.product(&g, &cuda.upload(&x), None));
        assert_close("product", &found, &Cpu.product(&c, &x, None).data, 4e-3);
        let found = down(
            &cuda,
            &cuda.product_backward(&g.weight, &cuda.upload(&dy), None),
        );
        assert_close(
            "product backward",
            &found,
            &Cpu.product_backward(&c.weight, &dy, None).data,
            4e-3,
        );
        let exact = down(&cuda, &cuda.logits(&g.weight, &cuda.upload(&x)));
        assert_close("logits", &exact, &Cpu.logits(&c.weight, &x).data, 1e-4);
    }
}

const SHAPES: [Heads; 5] = [
    Heads {
        queries: 14,
        kv: 2,
        dim: 64,
    },
    Heads {
        queries: 28,
        kv: 4,
        dim: 128,
    },
    Heads {
        queries: 4,
        kv: 4,
        dim: 24,
    },
    Heads {
        queries: 3,
        kv: 1,
        dim: 96,
    },
    Heads {
        queries: 4,
        kv: 2,
        dim: 256,
    },
];

/// Every shape with the whole context in sight, and with a part of it.
fn reaches() -> impl Iterator<Item = (usize, Heads, Option<usize>)> {
    let shapes = SHAPES.into_iter().enumerate();
    shapes.flat_map(|(i, heads)| [None, Some(3), Some(90)].map(|window| (i, heads, window)))
}

fn angles<D: Device>(device: &D, dim: usize) -> D::Rotary {
    let inv_freq: Vec<f32> = (0..dim / 2).map(|i| 0.7f32.powi(i as i32)).collect();
    device.rotary(&inv_freq, 2048).unwrap()
}

struct Block<D: Device> {
    heads: Heads,
    window: Option<usize>,
    norms: Option<(RmsNorm<D>, RmsNorm<D>)>,
}

impl<D: Device> Block<D> {
    fn new(device: &D, heads: Heads, window: Option<usize>, with: bool) -> Self {
        let norms = with.then(|| (norms(device, heads.dim), norms(device, heads.dim)));
        Block {
            heads,
            window,
            norms,
        }
    }

    fn norms(&self) -> HeadNorms<'_, D> {
        HeadNorms {
            heads: self.heads,
            queries: self.norms.as_ref().map(|n| &n.0),
            keys: self.norms.as_ref().map(|n| &n.1),
            window: self.window,
        }
    }
}

pub fn attention_over_whole_sequences_and_its_gradient() {
    gpus().iter().for_each(whole_sequences);
}

fn whole_sequences(cuda: &Cuda) {
    for (i, heads, window) in reaches() {
        let with = i == 1 || heads.dim > 128;
        let lengths = [1usize, 63, 200, 64, 130];
        let (mut spans, mut at) = (Vec::new(), 0);
        for (slot, len) in lengths.into_iter().enumerate() {
            spans.push(Span {
                slot,
                position: 0,
                rows: at..at + len,
            });
            at += len;
        }
        let qkv = numbers(at, heads.row(), 5);
        let d_mixed = numbers(at, heads.queries * heads.dim, 6);
        let ids = vec![0; at];
        let (c, g) = (
            Block::new(&Cpu, heads, window, with),
            Block::new(cuda, heads, window, with),
        );
        let (ca, ga) = (angles(&Cpu, heads.dim), angles(cuda, heads.dim));
        let rows = Cpu.rows(&ids, &spans, 200);
        let (mixed, attended) = Cpu.attend(c.norms(), qkv.clone(), &rows, &ca, None);
        let expected = Cpu.attend_backward(c.norms(), &mixed, &attended, &d_mixed, &rows, &ca);
        let gpu_rows = cuda.rows(&ids, &spans, 200);
        let up = cuda.upload(&qkv);
        let (gpu_mixed, attended) = cuda.attend(g.norms(), up, &gpu_rows, &ga, None);
        assert_close(
            &format!("attention {heads:?}, window {window:?}"),
            &down(cuda, &gpu_mixed),
            &mixed.data,
            6e-3,
        );
        let d = cuda.upload(&d_mixed);
        let found = cuda.attend_backward(g.norms(), &gpu_mixed, &attended, &d, &gpu_rows, &ga);
        let found = down(cuda, &found);
        let (q, kvs) = (heads.queries * heads.dim, heads.kv * heads.dim);
        for (what, range) in [
            ("queries", 0..q),
            ("keys", q..q + kvs),
            ("values", q + kvs..q + 2 * kvs),
        ] {
            let part = |x: &[f32]| -> Vec<f32> {
                x.chunks(heads.row())
                    .flat_map(|row| row[range.clone()].to_vec())
                    .collect()
            };
            assert_close(
                &format!("gradient of {what}"),
                &part(&found),
                &part(&expected.data),
                1e-2,
            );
        }
    }
}

pub fn the_product_with_queries_keys_and_values_in_attention() {
    gpus().iter().for_each(product_and_attention);
}

fn product_and_attention(cuda: &Cuda) {
    for (_, heads, window) in reaches() {
        let (len, hidden) = (300, 200);
        let (ids, sequences) = (vec![0; len], [0..130, 130..131, 131..len]);
        let (x, w) = (
            numbers(len, hidden, 5),
            scaled(numbers(heads.row(), hidden, 6), 0.125),
        );
        let bias = numbers(1, heads.row(), 7).data;
        for bias in [None, Some(&bias[..])] {
            let (c, g) = (linear(&Cpu, &w, bias), linear(cuda, &w, bias));
            let (cb, gb) = (
                Block::new(&Cpu, heads, window, false),
                Block::new(cuda, heads, window, false),
            );
            let (ca, ga) = (angles(&Cpu, heads.dim), angles(cuda, heads.dim));
            let rows = Cpu.sequences(&ids, &sequences);
            let (expected, _) = Cpu.product_attend(&c, &x, None, cb.norms(), &rows, &ca);
            let rows = cuda.sequences(&ids, &sequences);
            let up = cuda.upload(&x);
            let (mixed, _) = cuda.product_attend(&g, &up, None, gb.norms(), &rows, &ga);
            let what = format!("product and attention {heads:?}, bias {}", bias.is_some());
            assert_close(&what, &down(cuda, &mixed), &expected.data, 8e-3);
        }
    }
}

pub fn chunks_of_a_prompt_and_single_rows_continue_it() {
    gpus().iter().for_each(chunks_and_single_rows);
}

fn chunks_and_single_rows(cuda: &Cuda) {
    for (_, heads, window) in reaches() {
        // Long enough that single rows are split over blocks.
        let (len, capacity) = (700, 1100);
        let qkv = numbers(len, heads.row(), 5);
        let (c, g) = (
            Block::new(&Cpu, heads, window, false),
            Block::new(cuda, heads, window, false),
        );
        let (ca, ga) = (angles(&Cpu, heads.dim), angles(cuda, heads.dim));
        let whole = [Span {
            slot: 0,
            position: 0,
            rows: 0..len,
        }];
        let mut kv = Cpu.kv(heads, 1, capacity).unwrap();
        let rows = Cpu.rows(&vec![0; len], &whole, capacity);
        let (expected, _) = Cpu.attend(c.norms(), qkv.clone(), &rows, &ca, Some(&mut kv));
        let mut gpu_kv = cuda.kv(heads, 3, capacity).unwrap();
        let gpu_rows = cuda.rows(&vec![0; len], &whole, capacity);
        let up = cuda.upload(&qkv);
        let (at_once, _) = cuda.attend(g.norms(), up, &gpu_rows, &ga, Some(&mut gpu_kv));
        let at_once = down(cuda, &at_once);
        assert_close("at once", &at_once, &expected.data, 6e-3);
        let mut pieces = Vec::new();
        for (from, to) in [(0, 100), (100, 101), (101, 420), (420, 690)] {
            let part = qkv.gather(&(from..to).collect::<Vec<_>>());
            let spans = [Span {
                slot: 1,
                position: from,
                rows: 0..to - from,
            }];
            let rows = cuda.rows(&vec![0; to - from], &spans, capacity);
            let part = cuda.upload(&part);
            let (mixed, _) = cuda.attend(g.norms(), part, &rows, &ga, Some(&mut gpu_kv));
            pieces.extend(down(cuda, &mixed));
        }
        assert_eq!(
            pieces,
            at_once[..pieces.len()],
            "chunks have the bits of the whole"
        );
        let single = SingleRows::new(cuda, 3, capacity);
        for position in 690..len {
            single.set(&[
                None,
                Some(Next {
                    token: 0,
                    position,
                    adapter: -1,
                }),
                None,
            ]);
            let part = qkv.gather(&[0, position, 0]);
            let (mixed, _) = cuda.attend(
                g.norms(),
                cuda.upload(&part),
                &single.rows(),
                &ga,
                Some(&mut gpu_kv),
            );
            let mixed = cuda.download(&mixed);
            assert!(
                mixed.row(0).iter().all(|x| *x == 0.0),
                "a slot that rests has no result"
            );
            assert_close("single", mixed.row(1), expected.row(position), 6e-3);
        }
    }
}

pub fn losses_and_their_gradients() {
    let cuda = gpu();
    for n in [304, 1003, 49152] {
        let rows = 9;
        let scale = |mut m: Mat| {
            m.data
                .iter_mut()
                .for_each(|x| *x = crate::support::half(*x * 4.0));
            m
        };
        let (x, t) = (scale(numbers(rows, n, 1)), scale(numbers(rows, n, 2)));
        let labels: Vec<u32> = (0..rows).map(|i| (i * 97 % n) as u32).collect();
        let (mut expected, mut total) = (x.clone(), 0.0);
        Cpu.cross_entropy(&mut expected, &labels, 0.25, &mut total);
        let (mut found, mut gpu_total) = (cuda.upload_stream(&x), Default::default());
        cuda.cross_entropy(&mut found, &labels, 0.25, &mut gpu_total);
        assert!((cuda.total(gpu_total) - total).abs() < 1e-4 * total);
        assert_close("cross-entropy", &down(&cuda, &found), &expected.data, 4e-3);
        let (mut expected, mut total) = (x.clone(), 0.0);
        Cpu.divergence(&mut expected, &mut t.clone(), 0.25, &mut total);
        let (mut found, mut gpu_total) = (cuda.upload_stream(&x), Default::default());
        cuda.divergence(
            &mut found,
            &mut cuda.upload_stream(&t),
            0.25,
            &mut gpu_total,
        );
        assert!((cuda.total(gpu_total) - total).abs() < 1e-3 * total);
        assert_close("divergence", &down(&cuda, &found), &expected.data, 5e-3);
    }
}

pub fn tokens_are_chosen_as_on_the_cpu() {
    let cuda = gpu();
    let (rows, n, k) = (11, 5003, 64);
    let (w, x) = (numbers(n, k, 1), numbers(rows, k, 2));
    let weight = cuda.weight(&[StoredTensor::of(&w.data, k)]).unwrap();
    let logits = cuda.logits(&weight, &cuda.upload(&x));
    let host = cuda.download(&logits);
    let usable = 4990;
    let mut asked = vec![-1i32; rows];
    asked[3] = 17;
    let chosen = cuda.choose(&logits, &Numbers::of(&cuda, &asked), usable);
    let (tokens, logprobs): (Vec<u32>, Vec<f32>) = chosen.get().into_iter().unzip();
    for row in 0..rows {
        let x = host.row(row);
        let best = (0..usable)
            .rev()
            .max_by(|&a, &b| x[a].total_cmp(&x[b]))
            .unwrap() as u32;
        let expected = if row == 3 { 17 } else { best };
        assert_eq!(tokens[row], expected);
        let sum = qeval::model::log_sum_exp(x);
        assert!((logprobs[row] - (x[expected as usize] - sum)).abs() < 1e-4);
    }
}

pub fn rows_are_gathered_and_added_back() {
    let cuda = gpu();
    let (x, y) = (numbers(10, 96, 1), numbers(3, 96, 2));
    let up = cuda.upload(&x);
    assert_eq!(
        down(&cuda, &cuda.gather(&up, &[7, 0, 7])),
        x.gather(&[7, 0, 7]).data
    );
    let mut found = cuda.upload(&x);
    let mut expected = x.clone();
    Cpu.scatter_add(&y, &[9, 1, 4], &mut expected);
    cuda.scatter_add(&cuda.upload(&y), &[9, 1, 4], &mut found);
    assert_close("scatter", &down(&cuda, &found), &expected.data, 3e-3);
}

/// A row's bits are its own: other rows, and how many there are, do not matter.
pub fn products_of_answers_do_not_depend_on_other_rows() {
    let cuda = gpu();
    for (n, k) in [
        (960, 576),
        (3072, 576),
        (576, 1536),
        (4608, 3584),
        (3584, 18944),
        (26000, 136),
        (37000, 328),
    ] {
        let g = linear(&cuda, &numbers(n, k, 1), None);
        let x = numbers(2048, k, 2);
        let bits = |rows: &[usize], row: usize| -> Vec<u32> {
            let y = cuda.product(&g, &cuda.of_answers(cuda.upload(&x.gather(rows))), None);
            cuda.download(&y)
                .row(row)
                .iter()
                .map(|v| v.to_bits())
                .collect()
        };
        let many: Vec<usize> = (0..2048).collect();
        let expected = bits(&many, 5);
        for m in [1, 17, 100, 257, 300, 511, 512, 700, 1024, 1500] {
            let mut rows: Vec<usize> = (100..100 + m).collect();
            let place = m - m.min(3);
            rows[place] = 5;
            assert_eq!(bits(&rows, place), expected, "{n} x {k}, {m} rows");
        }
    }
}

/// The kernel for one row a slot, split over the inner dimension and whole.
pub fn products_of_few_rows() {
    gpus().iter().for_each(few_rows);
}

fn few_rows(cuda: &Cuda) {
    for (n, k) in [
        (960, 576),
        (576, 1536),
        (1000, 328),
        (4608, 3584),
        (3584, 18944),
        (26000, 136),
        (37000, 328),
    ] {
        for site in [Site::Qkv, Site::GateUp] {
            let (w, bias) = (numbers(n, k, 1), numbers(1, n, 4).data);
            let (mut c, mut g) = (linear(&Cpu, &w, Some(&bias)), linear(cuda, &w, Some(&bias)));
            c.place.site = site;
            g.place.site = site;
            for rows in [1, 16, 20, 64, 80, 128] {
                let x = numbers(rows, k, 2);
                let found = cuda.product(&g, &cuda.of_slots(cuda.upload(&x)), None);
                let expected = Cpu.product(&c, &x, None).data;
                assert_close(
                    &format!("{rows} x {n} x {k}"),
                    &down(cuda, &found),
                    &expected,
                    4e-3,
                );
            }
            let x = numbers(3, k, 2);
            let found = cuda.logits(&g.weight, &cuda.of_slots(cuda.upload(&x)));
            assert_close(
                "F32",
                &down(cuda, &found),
                &Cpu.logits(&c.weight, &x).data,
                1e-4,
            );
        }
    }
}

/// The device's draws are those of the host's sampler, over whole rows of logits.
pub fn draws_are_those_of_the_host() {
    let cuda = gpu();
    let (rows, k) = (64, 64);
    for n in [5003, 49152, 152_064] {
        let (w, x) = (numbers(n, k, 1), numbers(rows, k, 2));
        let weight = cuda.weight(&[StoredTensor::of(&w.data, k)]).unwrap();
        let logits = cuda.logits(&weight, &cuda.upload(&x));
        let host = cuda.download(&logits);
        let usable = n - 3;
        let chosen = cuda.choose(&logits, &Numbers::of(&cuda, &vec![-1; rows]), usable);
        let greedy = chosen.get();
        let samplings: Vec<Sampling> = (0..rows)
            .map(|i| Sampling {
                temperature: [0.0, 0.3, 0.7, 1.0, 1.5][i % 5],
                top_k: [0, 1, 40, 1000][i % 4],
                top_p: [1.0, 0.9, 0.5][i % 3],
                repetition_penalty: 1.0,
            })
            .collect();
        let draws: Vec<f32> = (0..rows).map(|i| qeval::generate::draw(9, i)).collect();
        let mut settings = vec![0.0; 4 * rows];
        for (i, s) in samplings.iter().enumerate() {
            for (c, v) in [s.temperature, s.top_p, draws[i], s.top_k as f32]
                .into_iter()
                .enumerate()
            {
                settings[c * rows + i] = v;
            }
        }
        cuda.draw(&logits, &chosen, &Numbers::of(&cuda, &settings), usable);
        let (mut other, found) = (0, chosen.get());
        for i in 0..rows {
            let expected =
                samplings[i].choose(&host.row(i)[..usable], std::iter::empty(), draws[i]);
            let (token, logprob) = found[i];
            assert_ne!(token, u32::MAX, "{n}: row {i} was left to the host");
            other += usize::from(token != expected);
            let x = host.row(i);
            assert!((logprob - (x[token as usize] - qeval::model::log_sum_exp(x))).abs() < 1e-3);
            if samplings[i].temperature == 0.0 {
                assert_eq!(found[i], greedy[i]);
            }
        }
        // A draw within a rounding of the border between two tokens may go to either.
        assert!(other <= 1, "{n}: {other} of {rows} draws differ");
    }
}
