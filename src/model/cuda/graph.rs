//! Work that is recorded once and replayed: a step of hundreds of kernels for one call.

use std::sync::Arc;

use cudarc::driver::{result, sys};

use super::context::{Context, Cuda, must};
use super::memory::Blocks;

/// Recorded work, with the memory that it uses.
pub struct Graph {
    context: Arc<Context>,
    graph: sys::CUgraph,
    exec: sys::CUgraphExec,
    blocks: Blocks,
}

// SAFETY: a graph is launched by one owner at a time, from any thread with its context.
unsafe impl Send for Graph {}

impl Cuda {
    /// Records what `work` does. It runs twice: once for real, which finds memory and loads
    /// kernels, once to be recorded; what it returns is of the second run and is written by every
    /// [`Graph::replay`].
    ///
    /// # Panics
    /// When the GPU fails.
    pub fn record<T>(&self, mut work: impl FnMut() -> T) -> (Graph, T) {
        let context = self.0.clone();
        context.with_pool(|pool| pool.begin_capture(Blocks::new()));
        drop(work());
        self.synchronize();
        // SAFETY: the stream is the context's; relaxed mode lets the host allocate meanwhile.
        let (graph, result) = unsafe {
            let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
            must(result::stream::begin_capture(context.stream, mode));
            let result = work();
            (must(result::stream::end_capture(context.stream)), result)
        };
        // SAFETY: the graph was just recorded.
        let exec =
            must(unsafe { result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)) });
        let blocks = context.with_pool(super::memory::Pool::end_capture);
        let recorded = Graph {
            context,
            graph,
            exec,
            blocks,
        };
        (recorded, result)
    }
}

impl Graph {
    /// Does the recorded work again.
    pub fn replay(&self) {
        self.context.bind();
        // SAFETY: the graph lives, and so does the memory that it names.
        must(unsafe { result::graph::launch(self.exec, self.context.stream) });
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        self.context.bind();
        // SAFETY: the stream is waited for, so no replay is under way.
        unsafe {
            let _ = result::stream::synchronize(self.context.stream);
            let _ = result::graph::exec_destroy(self.exec);
            let _ = result::graph::destroy(self.graph);
        }
        let blocks = std::mem::take(&mut self.blocks);
        self.context.with_pool(|pool| pool.adopt(blocks));
    }
}
