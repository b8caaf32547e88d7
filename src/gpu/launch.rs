//! Launches of kernels. What a kernel reads and writes is up to its arguments, so a launch is
//! unsafe; whoever owns a kernel wraps it in a function that checks sizes.

use std::ffi::c_void;

use cudarc::driver::sys;

use super::context::{Cuda, must};
use super::tensor_map::TensorMap;

/// What a kernel takes.
#[derive(Clone, Copy)]
pub(crate) enum Arg {
    /// Device memory, or 0 where a kernel takes none; see [`Buffer::holds`](super::Buffer::holds).
    Pointer(u64),
    /// Memory that a step was refused: a kernel that takes it is not launched.
    Void,
    Int(i32),
    Word(u32),
    Long(u64),
    Float(f32),
    Matrix(TensorMap),
}

impl Arg {
    /// No memory.
    pub(crate) const NONE: Arg = Arg::Pointer(0);

    fn address(&self) -> *mut c_void {
        let at: *const c_void = match self {
            Arg::Pointer(x) | Arg::Long(x) => (&raw const *x).cast(),
            Arg::Void => std::ptr::null(),
            Arg::Int(x) => (&raw const *x).cast(),
            Arg::Word(x) => (&raw const *x).cast(),
            Arg::Float(x) => (&raw const *x).cast(),
            Arg::Matrix(x) => (&raw const *x).cast(),
        };
        at.cast_mut()
    }
}

/// Blocks, and what each of them has.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    pub blocks: (usize, usize, usize),
    pub threads: usize,
    /// Bytes of dynamic shared memory.
    pub shared: usize,
}

impl Grid {
    pub(crate) fn new(blocks: (usize, usize, usize), threads: usize) -> Self {
        Grid {
            blocks,
            threads,
            shared: 0,
        }
    }

    /// A block for each row.
    pub(crate) fn rows(rows: usize) -> Self {
        Grid::new((rows, 1, 1), 256)
    }

    /// At least so many threads.
    pub(crate) fn flat(threads: usize) -> Self {
        Grid::new((threads.div_ceil(256), 1, 1), 256)
    }

    pub(crate) fn shared(self, bytes: usize) -> Self {
        Grid {
            shared: bytes,
            ..self
        }
    }
}

impl Cuda {
    /// Launches a kernel. Nothing is launched in a step that was refused room.
    ///
    /// # Safety
    /// `args` are those of the kernel's signature, in its order. Wherever the kernel reads and
    /// writes with this grid, there is memory: every pointer has as many bytes behind it, every
    /// number in memory that the kernel takes for a place is one, every matrix has the sizes that
    /// it says. The shared memory is as much as the kernel uses.
    ///
    /// # Panics
    /// When an argument is of a step that was refused room and has ended; when the GPU fails.
    pub(crate) unsafe fn launch(&self, name: &'static str, grid: Grid, args: &[Arg]) {
        // SAFETY: as for this function.
        unsafe { self.start(name, grid, args, false) };
    }

    /// Launches a kernel that may begin while the one before still runs, and waits for it itself
    /// before it reads what that one writes.
    ///
    /// # Safety
    /// As for [`Cuda::launch`], of a kernel that waits.
    pub(crate) unsafe fn launch_early(&self, name: &'static str, grid: Grid, args: &[Arg]) {
        // SAFETY: as for this function.
        unsafe { self.start(name, grid, args, true) };
    }

    unsafe fn start(&self, name: &'static str, grid: Grid, args: &[Arg], early: bool) {
        let Grid {
            blocks: (x, y, z),
            threads,
            shared,
        } = grid;
        if x == 0 || y == 0 || z == 0 || self.is_full() {
            return;
        }
        let void = args.iter().any(|arg| matches!(arg, Arg::Void));
        assert!(
            !void,
            "{name} is given a result of a step that found no room"
        );
        self.bind();
        let mut params: Vec<*mut c_void> = args.iter().map(Arg::address).collect();
        let mut attribute = sys::CUlaunchAttribute {
            id: sys::CUlaunchAttributeID::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
            pad: [0; 4],
            value: sys::CUlaunchAttributeValue {
                programmaticStreamSerializationAllowed: 1,
            },
        };
        let config = sys::CUlaunchConfig {
            gridDimX: x as u32,
            gridDimY: y as u32,
            gridDimZ: z as u32,
            blockDimX: threads as u32,
            blockDimY: 1,
            blockDimZ: 1,
            sharedMemBytes: shared as u32,
            hStream: self.stream(),
            attrs: &raw mut attribute,
            // An older GPU begins a kernel when the one before has ended.
            numAttrs: u32::from(early && self.begins_early()),
        };
        let function = self.function(name);
        // SAFETY: the caller answers for the arguments; the stream orders the kernel after whatever
        // wrote its operands, or the kernel does.
        must(unsafe {
            sys::cuLaunchKernelEx(
                &raw const config,
                function,
                params.as_mut_ptr(),
                std::ptr::null_mut(),
            )
            .result()
        });
    }
}
