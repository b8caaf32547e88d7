//! The driver's context: one device, one stream, the kernels, and memory.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys;

use super::buffer::Buffer;
use super::error::GpuError;
use super::gemm::Blas;
use super::pool::{Pool, Refusal};
use super::ptx;
use crate::half_type::HalfType;

/// A GPU that is ready to compute. Clones share it.
#[derive(Clone)]
pub struct Cuda(Arc<Context>);

/// Memory of a GPU, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// What another allocation can take.
    pub free: usize,
    /// What matrices take now.
    pub used: usize,
    /// Most that they took since the mark was reset.
    pub peak: usize,
}

struct Context {
    context: sys::CUcontext,
    device: sys::CUdevice,
    stream: sys::CUstream,
    functions: RwLock<Functions>,
    /// Compute capability.
    capability: (i32, i32),
    /// Bytes of shared memory that a block can have.
    shared: usize,
    pool: Mutex<Pool>,
    blas: Mutex<Blas>,
    name: String,
    processors: usize,
    warp_groups: bool,
    half_type: HalfType,
    /// The bits of the loss scale.
    loss_scale: AtomicU32,
}

type Functions = HashMap<&'static str, Function>;

#[derive(Clone, Copy)]
struct Function {
    handle: sys::CUfunction,
    /// The most dynamic shared memory that it is launched with, in bytes.
    shared: usize,
}

// SAFETY: handles of the driver may be used from any thread whose current context is theirs, which
// `bind` sees to; what is not thread-safe behind them is in mutexes.
unsafe impl Send for Context {}
// SAFETY: as for `Send`.
unsafe impl Sync for Context {}

impl From<Refusal> for GpuError {
    fn from(Refusal { wanted, used }: Refusal) -> Self {
        GpuError::OutOfMemory { wanted, used }
    }
}

impl Cuda {
    /// Whether this machine has NVIDIA's driver.
    pub fn driver_is_there() -> bool {
        // SAFETY: this only looks for the library.
        unsafe { sys::is_culib_present() }
    }

    /// The name of GPU `ordinal`, without opening it; `None` where there is none.
    pub fn name_of(ordinal: usize) -> Option<String> {
        if !Self::driver_is_there() {
            return None;
        }
        result::init().ok()?;
        let device = result::device::get(i32::try_from(ordinal).ok()?).ok()?;
        result::device::get_name(device).ok()
    }

    /// Opens GPU `ordinal`, to compute in these numbers.
    ///
    /// # Errors
    /// No driver, no such GPU, one older than Ampere, no cuBLAS or NVRTC, kernels that do not
    /// compile.
    pub fn open(ordinal: usize, half_type: HalfType) -> Result<Self, GpuError> {
        Self::open_with(ordinal, half_type, true)
    }

    /// Opens GPU `ordinal` and uses of it what every GPU has that runs here, so that those kernels
    /// can be tried on a newer one.
    ///
    /// # Errors
    /// As for [`Cuda::open`].
    pub fn open_as_oldest(ordinal: usize, half_type: HalfType) -> Result<Self, GpuError> {
        Self::open_with(ordinal, half_type, false)
    }

    fn open_with(ordinal: usize, half_type: HalfType, newest: bool) -> Result<Self, GpuError> {
        // SAFETY: these only look for the libraries.
        let (driver, nvrtc, blas) = unsafe {
            (
                sys::is_culib_present(),
                cudarc::nvrtc::sys::is_culib_present(),
                cudarc::cublaslt::sys::is_culib_present(),
            )
        };
        for (there, name) in [
            (driver, "the NVIDIA driver (libcuda)"),
            (nvrtc, "NVRTC (libnvrtc)"),
            (blas, "cuBLASLt (libcublasLt)"),
        ] {
            if !there {
                return Err(GpuError::Unusable {
                    problem: format!("{name} was not found; set LD_LIBRARY_PATH to its folder"),
                });
            }
        }
        result::init().map_err(|e| GpuError::failed("the driver does not start", e))?;
        let device = result::device::get(ordinal as i32)
            .map_err(|e| GpuError::failed("there is no such GPU", e))?;
        let attribute = |a| {
            // SAFETY: `device` is valid.
            unsafe { result::device::get_attribute(device, a) }
                .map_err(|e| GpuError::failed("the GPU does not say what it is", e))
        };
        use sys::CUdevice_attribute as A;
        let major = attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(A::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let processors = attribute(A::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)? as usize;
        let name = result::device::get_name(device).unwrap_or_default();
        if major < 8 {
            return Err(GpuError::Unusable {
                problem: format!("{name} has no bf16 arithmetic; an Ampere GPU or newer has"),
            });
        }
        // SAFETY: `device` is valid; the context is released with `Context`.
        let context = unsafe {
            let context = result::primary_ctx::retain(device)
                .map_err(|e| GpuError::failed("the GPU cannot be opened", e))?;
            result::ctx::set_current(context)
                .map_err(|e| GpuError::failed("the GPU cannot be opened", e))?;
            context
        };
        let image = ptx::kernels((major, minor), half_type)?;
        let shared = attribute(A::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)? as usize;
        let mut functions = Functions::new();
        let kernels = ptx::FUNCTIONS.iter();
        load(
            &image,
            kernels.map(|&(name, room)| (name, name, room)),
            shared,
            &mut functions,
        )?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking)
            .map_err(|e| GpuError::failed("the GPU has no stream", e))?;
        let blas = Blas::new(half_type)?;
        Ok(Cuda(Arc::new(Context {
            context,
            device,
            stream,
            functions: RwLock::new(functions),
            capability: (major, minor),
            shared,
            pool: Mutex::new(Pool::default()),
            blas: Mutex::new(blas),
            name,
            processors,
            warp_groups: newest && (major, minor) == (9, 0),
            half_type,
            loss_scale: AtomicU32::new(half_type.loss_scale().to_bits()),
        })))
    }

    /// The GPU's name.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// What 16-bit numbers are.
    pub fn half_type(&self) -> HalfType {
        self.0.half_type
    }

    /// What gradients by activations are multiplied with from here on: [`HalfType::loss_scale`],
    /// unless [`Cuda::set_loss_scale`] chose another.
    pub fn loss_scale(&self) -> f32 {
        f32::from_bits(self.0.loss_scale.load(Ordering::Relaxed))
    }

    /// Chooses it, a power of two. To be called between a backward pass and the next loss.
    pub fn set_loss_scale(&self, scale: f32) {
        self.0.loss_scale.store(scale.to_bits(), Ordering::Relaxed);
    }

    /// Streaming multiprocessors.
    pub(crate) fn processors(&self) -> usize {
        self.0.processors
    }

    /// Whether Hopper's products of four warps are there.
    pub(crate) fn warp_groups(&self) -> bool {
        self.0.warp_groups
    }

    /// Whether a kernel can begin while the one before still runs.
    pub(super) fn begins_early(&self) -> bool {
        self.0.capability.0 >= 9
    }

    pub(super) fn stream(&self) -> sys::CUstream {
        self.0.stream
    }

    /// Waits for all work.
    ///
    /// # Panics
    /// When a kernel failed.
    pub fn synchronize(&self) {
        self.bind();
        // SAFETY: the stream lives as long as the context.
        must(unsafe { result::stream::synchronize(self.0.stream) });
    }

    /// How memory stands.
    pub fn memory(&self) -> Memory {
        self.bind();
        let (free, _) = result::mem_get_info().unwrap_or((0, 0));
        let pool = self.pool();
        Memory {
            free: free + pool.idle(),
            used: pool.used(),
            peak: pool.peak(),
        }
    }

    /// Forgets the peak so far.
    pub fn reset_peak(&self) {
        self.pool().reset_peak();
    }

    /// Sets how many bytes may be in use: what happens when memory is full can be tried without
    /// filling it.
    pub fn limit_memory(&self, bytes: Option<usize>) {
        self.pool().limit(bytes);
    }

    /// Whether there was room for everything since this was last asked. Where there is none in the
    /// middle of a step, nothing more is started or copied until this is asked: what the step has
    /// returned is void, and is to be dropped.
    ///
    /// # Errors
    /// The GPU's memory was full.
    pub fn had_room(&self) -> Result<(), GpuError> {
        match self.pool().refusal() {
            None => Ok(()),
            Some(refusal) => Err(refusal.into()),
        }
    }
}

/// Adds functions of the compiled kernels by name. A kernel that could use more shared memory than
/// the `room` that a block has here is launched with less, or not at all.
fn load(
    image: &[u8],
    kernels: impl IntoIterator<Item = ptx::Entry>,
    room: usize,
    functions: &mut Functions,
) -> Result<(), GpuError> {
    let mut text = image.to_vec();
    text.push(0);
    // SAFETY: the image is a whole text that ends in zero, and a context is current.
    let module = unsafe { result::module::load_data(text.as_ptr().cast()) }
        .map_err(|e| GpuError::failed("the kernels do not load", e))?;
    for (name, symbol, shared) in kernels {
        let symbol = CString::new(symbol).unwrap_or_default();
        // SAFETY: the module was just loaded and is never unloaded.
        let handle = unsafe { result::module::get_function(module, symbol) }
            .map_err(|e| GpuError::failed(&format!("kernel {name} is missing"), e))?;
        if shared > 48 << 10 {
            use sys::CUfunction_attribute as A;
            // SAFETY: the function is of this module.
            unsafe {
                result::function::get_function_attribute(
                    handle,
                    A::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES,
                )
                .and_then(|fixed| {
                    result::function::set_function_attribute(
                        handle,
                        A::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                        shared.min(room.saturating_sub(fixed as usize)) as i32,
                    )
                })
            }
            .map_err(|e| GpuError::failed(&format!("kernel {name} needs more shared memory"), e))?;
        }
        functions.insert(name, Function { handle, shared });
    }
    Ok(())
}

/// The value, or an end: after a failed kernel nothing of the device is of use.
pub(super) fn must<T>(result: Result<T, DriverError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the GPU failed: {error}"),
    }
}

impl Cuda {
    /// Makes the context this thread's.
    pub(super) fn bind(&self) {
        // SAFETY: the context is retained as long as `self` lives.
        must(unsafe { result::ctx::set_current(self.0.context) });
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn blas(&self) -> MutexGuard<'_, Blas> {
        self.0.blas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` with the pool.
    pub(super) fn with_pool<T>(&self, f: impl FnOnce(&mut Pool) -> T) -> T {
        self.bind();
        f(&mut self.pool())
    }

    /// Memory of `bytes` bytes, whatever is in it.
    pub(crate) fn alloc(&self, bytes: usize) -> Result<Buffer, GpuError> {
        self.bind();
        let block = self.pool().take(bytes)?;
        Ok(Buffer::new(self.clone(), block))
    }

    /// As [`Cuda::alloc`], for what stays as long as the model: not a byte to spare.
    pub(crate) fn keep(&self, bytes: usize) -> Result<Buffer, GpuError> {
        self.bind();
        let block = self.pool().take_exactly(bytes)?;
        Ok(Buffer::new(self.clone(), block))
    }

    /// As [`Cuda::alloc`] in the middle of a step. Where there is no room, the buffer has no
    /// bytes, and nothing is started or copied until [`Cuda::had_room`] is asked.
    pub(crate) fn room(&self, bytes: usize) -> Buffer {
        self.bind();
        let block = self.pool().room(bytes);
        Buffer::new(self.clone(), block.unwrap_or_default())
    }

    /// Numbers of the host in the middle of a step.
    pub(crate) fn room_of<T: Copy>(&self, values: &[T]) -> Buffer {
        let buffer = self.room(size_of_val(values).max(16));
        self.write(&buffer, 0, values);
        buffer
    }

    /// Whether the step under way was refused room: it is void, and no work of it is started.
    pub(crate) fn is_full(&self) -> bool {
        self.pool().is_full()
    }

    /// Gives memory back; called by `Buffer`.
    pub(super) fn give(&self, address: u64, size: usize) {
        self.pool().give(address, size);
    }

    fn found(&self, name: &'static str) -> Function {
        let functions = self.0.functions.read();
        functions.unwrap_or_else(PoisonError::into_inner)[name]
    }

    pub(super) fn function(&self, name: &'static str) -> sys::CUfunction {
        self.found(name).handle
    }

    /// Compiles the kernels of a format of weights, where they are not there yet.
    ///
    /// # Errors
    /// Kernels that do not compile.
    pub(crate) fn add_kernels_of_blocks(
        &self,
        defined: &str,
        kernels: &[ptx::Entry],
    ) -> Result<(), GpuError> {
        let mut functions = self.0.functions.write();
        let functions = functions.as_mut().map_err(|_| GpuError::Unusable {
            problem: "another thread failed while kernels were loaded".into(),
        })?;
        if kernels
            .iter()
            .all(|(name, ..)| functions.contains_key(name))
        {
            return Ok(());
        }
        self.bind();
        let image = ptx::kernels_of_blocks(defined, self.0.capability, self.0.half_type)?;
        load(&image, kernels.iter().copied(), self.0.shared, functions)
    }

    /// The most dynamic shared memory of a kernel, in bytes: what one with tiles of fixed sizes
    /// always takes.
    pub(crate) fn shared_memory(&self, name: &'static str) -> usize {
        self.found(name).shared
    }

    /// Numbers of the host in memory of their own.
    pub(crate) fn alloc_of<T: Copy>(&self, values: &[T]) -> Result<Buffer, GpuError> {
        let buffer = self.alloc(size_of_val(values).max(16))?;
        self.write(&buffer, 0, values);
        Ok(buffer)
    }

    /// Copies numbers of the host to `offset` bytes into a buffer.
    pub(crate) fn write<T: Copy>(&self, buffer: &Buffer, offset: usize, values: &[T]) {
        if values.is_empty() || self.is_full() {
            return;
        }
        assert!(offset + size_of_val(values) <= buffer.bytes());
        self.bind();
        // SAFETY: the range lies in the buffer; pageable memory of the host is read before the
        // call returns.
        must(unsafe {
            result::memcpy_htod_async(buffer.address() + offset as u64, values, self.0.stream)
        });
    }

    /// Copies from `offset` bytes into a buffer to the host, and waits for it. Zeros, where the step
    /// was refused room.
    pub(crate) fn read<T: Copy + Default>(
        &self,
        buffer: &Buffer,
        offset: usize,
        count: usize,
    ) -> Vec<T> {
        let mut values = vec![T::default(); count];
        if count == 0 || self.is_full() {
            return values;
        }
        assert!(offset + size_of_val(&values[..]) <= buffer.bytes());
        self.bind();
        // SAFETY: the range lies in the buffer, and the stream is waited for before the values
        // are looked at.
        must(unsafe {
            result::memcpy_dtoh_async(&mut values, buffer.address() + offset as u64, self.0.stream)
                .and_then(|()| result::stream::synchronize(self.0.stream))
        });
        values
    }

    /// Copies the first `bytes` bytes.
    pub(crate) fn copy(&self, from: &Buffer, to: &Buffer, bytes: usize) {
        if self.is_full() {
            return;
        }
        assert!(bytes <= from.bytes() && bytes <= to.bytes());
        self.bind();
        // SAFETY: both ranges are ours.
        must(unsafe {
            result::memcpy_dtod_async(to.address(), from.address(), bytes, self.0.stream)
        });
    }

    /// Sets all bytes to zero.
    pub(crate) fn clear(&self, buffer: &Buffer) {
        if self.is_full() {
            return;
        }
        self.bind();
        // SAFETY: the whole buffer is ours.
        must(unsafe {
            result::memset_d8_async(buffer.address(), 0, buffer.bytes(), self.0.stream)
        });
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the context any more: buffers hold it alive.
        unsafe {
            let _ = result::ctx::set_current(self.context);
            let _ = result::stream::synchronize(self.stream);
            let pool = self.pool.get_mut().unwrap_or_else(PoisonError::into_inner);
            pool.free_idle();
            let _ = result::stream::destroy(self.stream);
            let _ = result::primary_ctx::release(self.device);
        }
    }
}
