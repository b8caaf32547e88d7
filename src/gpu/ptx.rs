//! The kernels: source -> PTX for the GPU that is there, kept on disk.

use std::ffi::CString;
use std::path::PathBuf;

use cudarc::nvrtc::{result as nvrtc, sys as nvrtc_sys};

use crate::atomic_file;
use crate::digest;
use crate::half_type::HalfType;

use super::error::GpuError;

const SOURCES: [&str; 17] = [
    include_str!("kernels/common.cu"),
    include_str!("kernels/rows.cu"),
    include_str!("kernels/heads.cu"),
    include_str!("kernels/attention.cu"),
    include_str!("kernels/attention_backward.cu"),
    include_str!("kernels/attention_plain.cu"),
    include_str!("kernels/warp_groups.cu"),
    include_str!("kernels/attention_groups.cu"),
    include_str!("kernels/barriers.cu"),
    include_str!("kernels/ring.cu"),
    include_str!("kernels/gate_product.cu"),
    include_str!("kernels/qkv_product.cu"),
    include_str!("kernels/loss.cu"),
    include_str!("kernels/draw.cu"),
    include_str!("kernels/low_rank.cu"),
    include_str!("kernels/optimizer.cu"),
    include_str!("kernels/skinny.cu"),
];

/// What kernels of a format of weights are compiled of, after what the format defines.
const BLOCKS: [&str; 4] = [
    include_str!("kernels/common.cu"),
    include_str!("kernels/warp_groups.cu"),
    include_str!("kernels/barriers.cu"),
    include_str!("kernels/blocks.cu"),
];

/// A kernel as launches name it, as the source names it, and the most dynamic shared memory that it
/// is launched with, in bytes.
pub(crate) type Entry = (&'static str, &'static str, usize);

/// Every kernel, and the most dynamic shared memory it is launched with, in bytes.
pub(super) const FUNCTIONS: &[(&str, usize)] = &[
    ("norm_rows", 0),
    ("sum_norm_rows", 160 << 10),
    ("norm_backward_rows", 0),
    ("gate_rows", 0),
    ("gate_backward_rows", 0),
    ("gate_product_rows", RING_SHARED),
    ("gate_product_backward", RING_SHARED),
    ("qkv_product_64", RING_SHARED),
    ("qkv_product_128", RING_SHARED),
    ("embed_rows", 0),
    ("gather_rows", 0),
    ("scatter_rows", 0),
    ("scatter_add_rows", 0),
    ("add_bias_rows", 0),
    ("random_numbers", 0),
    ("copy_slot", 0),
    ("place_heads", 0),
    ("place_heads_backward", 0),
    ("place_wide_heads", 0),
    ("place_wide_heads_backward", 0),
    ("attend_plain", 0),
    ("attend_plain_queries", 0),
    ("attend_plain_keys", 0),
    ("attend_64", tiles_shared(5, 64)),
    ("attend_128", tiles_shared(5, 128)),
    ("attend_group_64", tiles_shared(4, 64)),
    ("attend_group_128", tiles_shared(4, 128)),
    ("attend_one_64", one_shared(64)),
    ("attend_one_128", one_shared(128)),
    ("attend_join", 0),
    ("attend_queries_64", tiles_shared(6, 64)),
    ("attend_queries_128", tiles_shared(6, 128)),
    ("attend_queries_group_64", tiles_shared(6, 64)),
    ("attend_queries_group_128", tiles_shared(6, 128)),
    ("attend_keys_64", tiles_shared(6, 64)),
    ("attend_keys_128", tiles_shared(6, 128)),
    ("attend_keys_group_64", tiles_shared(6, 64)),
    ("attend_keys_group_128", tiles_shared(6, 128)),
    ("cross_entropy_rows", 0),
    ("divergence_rows", 0),
    ("choose_rows", 0),
    ("draw_rows", 0),
    ("low_rank_down", 0),
    ("low_rank_up", 0),
    ("low_rank_row", 0),
    ("change_outputs", 0),
    ("own_embedding", 0),
    ("own_head", 0),
    ("adamw", 0),
    ("half_copy_of", 0),
    ("square_sums", 0),
    ("dropped", 0),
    ("skinny_16", skinny_shared(16, 2)),
    ("skinny_32", skinny_shared(32, 2)),
    ("skinny_64", skinny_shared(64, 2)),
    ("skinny_wide_32", skinny_shared(32, 5)),
    ("skinny_wide_64", skinny_shared(64, 5)),
    ("skinny_wide_128", skinny_shared(128, 5)),
];

/// Shared memory of a product with a ring of four slots, and their barriers.
const RING_SHARED: usize = 4 * (48 << 10) + 1024;

/// Shared memory of attention in tiles: of 64 rows each, and two rows of statistics twice.
const fn tiles_shared(tiles: usize, dim: usize) -> usize {
    tiles * 64 * dim * 2 + 1024
}

/// Shared memory of attention of one token: tiles of four warps, then their sums.
const fn one_shared(dim: usize) -> usize {
    4 * 16 * dim * 4 + 512
}

/// Shared memory of a product of up to `rows` rows in blocks of `groups` warp groups.
const fn skinny_shared(rows: usize, groups: usize) -> usize {
    let stages = if rows > 64 { 3 } else { 4 };
    stages * 128 * (64 * groups + rows)
}

/// The kernels that every model needs as PTX for a compute capability.
pub(super) fn kernels(capability: (i32, i32), half_type: HalfType) -> Result<Vec<u8>, GpuError> {
    compiled(&SOURCES.concat(), capability, half_type)
}

/// The kernels of a format of weights, with what it defines.
pub(super) fn kernels_of_blocks(
    defined: &str,
    capability: (i32, i32),
    half_type: HalfType,
) -> Result<Vec<u8>, GpuError> {
    let source = format!("{defined}{}", BLOCKS.concat());
    compiled(&source, capability, half_type)
}

/// Compiled once a machine: the text on disk is named after source, compiler, and GPU.
fn compiled(
    source: &str,
    (major, minor): (i32, i32),
    half_type: HalfType,
) -> Result<Vec<u8>, GpuError> {
    let is_f16 = i32::from(half_type == HalfType::Float16);
    let source = format!("#define FLOAT16 {is_f16}\n{source}");
    // `sm_90a` has the warp-group products that plain `sm_90` has not.
    let target = match (major, minor) {
        (9, 0) => "compute_90a".to_owned(),
        _ => format!("compute_{major}{minor}"),
    };
    let (mut high, mut low) = (0, 0);
    // SAFETY: both are places for one number.
    let _ = unsafe { nvrtc_sys::nvrtcVersion(&raw mut high, &raw mut low) };
    let name = digest::bytes(format!("{source}{target}{high}.{low}"));
    let kept = folder().map(|folder| folder.join(format!("kernels-{}.ptx", &name[..16])));
    if let Some(text) = kept.as_ref().and_then(|path| std::fs::read(path).ok()) {
        return Ok(text);
    }
    let text = compile(&source, &target)?;
    if let Some(path) = kept {
        // A cache that cannot be written costs the next start a second or two.
        let _ = path.parent().map(std::fs::create_dir_all);
        let _ = atomic_file::write(&path, &text);
    }
    Ok(text)
}

fn folder() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("qeval"))
}

fn compile(source: &str, target: &str) -> Result<Vec<u8>, GpuError> {
    let problem = |text: String| GpuError::Unusable {
        problem: format!("the kernels do not compile: {text}"),
    };
    let source = CString::new(source).map_err(|e| problem(e.to_string()))?;
    let program = nvrtc::create_program(&source, None).map_err(|e| problem(e.to_string()))?;
    let options = [format!("--gpu-architecture={target}"), "--std=c++17".into()];
    // SAFETY: the program is destroyed after its last use, here.
    let text = unsafe {
        let compiled = nvrtc::compile_program(program, &options)
            .map_err(|_| match nvrtc::get_program_log(program) {
                Ok(log) => {
                    String::from_utf8_lossy(&log.iter().map(|c| *c as u8).collect::<Vec<_>>())
                        .chars()
                        .take(2000)
                        .collect()
                }
                Err(error) => error.to_string(),
            })
            .and_then(|()| nvrtc::get_ptx(program).map_err(|e| e.to_string()));
        let _ = nvrtc::destroy_program(program);
        compiled.map_err(problem)?
    };
    Ok(text
        .into_iter()
        .map(|c| c as u8)
        .take_while(|c| *c != 0)
        .collect())
}
