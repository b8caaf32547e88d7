//! LoRA as llama.cpp reads it: a GGUF file of one adapter, tensors in F32.
//!
//! The layout is that of llama.cpp's `convert_lora_to_gguf.py`. Queries and keys are left out, whose
//! rows llama.cpp keeps in another order.

use std::path::Path;

use qeval::lora::Adapter;
use qeval::model::Projection;

/// Of a tensor's first byte.
const ALIGNMENT: usize = 32;
/// Types of values in the head.
const STRING: u32 = 8;
const FLOAT: u32 = 6;
/// The type of tensors.
const F32: u32 = 0;

/// Writes an adapter for a base of the Llama family. Every module has the same rank.
pub fn write(adapter: &Adapter, to: &Path) {
    let mut alpha = None;
    let mut tensors: Vec<(String, [usize; 2], &[f32])> = Vec::new();
    for (id, pair) in &adapter.modules {
        let module = match id.projection {
            Projection::V => "attn_v",
            Projection::O => "attn_output",
            Projection::Gate => "ffn_gate",
            Projection::Up => "ffn_up",
            Projection::Down => "ffn_down",
            Projection::Q | Projection::K => panic!("rows of {id:?} are in another order there"),
        };
        // llama.cpp divides by the rank of each.
        let own = pair.scale * pair.rank as f32;
        assert_eq!(*alpha.get_or_insert(own), own);
        let name = format!("blk.{}.{module}.weight", id.layer);
        let (inputs, outputs) = (pair.a.len() / pair.rank, pair.b.len() / pair.rank);
        // The innermost dimension comes first.
        tensors.push((format!("{name}.lora_a"), [inputs, pair.rank], &pair.a));
        tensors.push((format!("{name}.lora_b"), [pair.rank, outputs], &pair.b));
    }
    let mut file = b"GGUF".to_vec();
    file.extend(3_u32.to_le_bytes());
    file.extend((tensors.len() as u64).to_le_bytes());
    file.extend(4_u64.to_le_bytes());
    for (key, value) in [
        ("general.type", "adapter"),
        ("general.architecture", "llama"),
        ("adapter.type", "lora"),
    ] {
        string(&mut file, key);
        file.extend(STRING.to_le_bytes());
        string(&mut file, value);
    }
    string(&mut file, "adapter.lora.alpha");
    file.extend(FLOAT.to_le_bytes());
    file.extend(alpha.unwrap().to_le_bytes());
    let mut offset = 0;
    for (name, dimensions, values) in &tensors {
        string(&mut file, name);
        file.extend(2_u32.to_le_bytes());
        dimensions
            .iter()
            .for_each(|n| file.extend((*n as u64).to_le_bytes()));
        file.extend(F32.to_le_bytes());
        file.extend((offset as u64).to_le_bytes());
        offset += (4 * values.len()).next_multiple_of(ALIGNMENT);
    }
    for (_, _, values) in &tensors {
        file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
        values.iter().for_each(|x| file.extend(x.to_le_bytes()));
    }
    file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    std::fs::write(to, file).unwrap();
}

fn string(file: &mut Vec<u8>, text: &str) {
    file.extend((text.len() as u64).to_le_bytes());
    file.extend(text.as_bytes());
}
