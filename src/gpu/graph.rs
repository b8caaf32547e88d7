//! Work that is recorded once and replayed: a step of hundreds of kernels for one call.

use cudarc::driver::{result, sys};

use super::context::{Cuda, must};
use super::error::GpuError;
use super::pool::{Blocks, Pool};

/// Recorded work, with the memory that it uses.
pub struct Graph {
    cuda: Cuda,
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
    /// # Errors
    /// That of `work`; the device's memory is full.
    ///
    /// # Panics
    /// When the GPU fails.
    pub fn record<T, E: From<GpuError>>(
        &self,
        mut work: impl FnMut() -> Result<T, E>,
    ) -> Result<(Graph, T), E> {
        let mut whole = || {
            let result = work()?;
            self.had_room()?;
            Ok(result)
        };
        self.with_pool(|pool| pool.begin_capture(Blocks::new()));
        let recorded = whole().map(drop).and_then(|()| {
            self.synchronize();
            self.capture(whole)
        });
        let blocks = self.with_pool(Pool::end_capture);
        match recorded {
            Ok(((graph, exec), result)) => {
                let recorded = Graph {
                    cuda: self.clone(),
                    graph,
                    exec,
                    blocks,
                };
                Ok((recorded, result))
            }
            Err(error) => {
                self.with_pool(|pool| pool.adopt(blocks));
                Err(error)
            }
        }
    }

    fn capture<T, E: From<GpuError>>(
        &self,
        work: impl FnOnce() -> Result<T, E>,
    ) -> Result<((sys::CUgraph, sys::CUgraphExec), T), E> {
        let stream = self.stream();
        // SAFETY: the stream is the context's; relaxed mode lets the host allocate meanwhile.
        let (graph, result) = unsafe {
            let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
            must(result::stream::begin_capture(stream, mode));
            let result = work();
            (must(result::stream::end_capture(stream)), result)
        };
        let made = result.and_then(|result| {
            // SAFETY: the graph was just recorded.
            let exec =
                unsafe { result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)) };
            exec.map(|exec| (exec, result))
                .map_err(|e| GpuError::failed("a step cannot be recorded", e).into())
        });
        match made {
            Ok((exec, result)) => Ok(((graph, exec), result)),
            Err(error) => {
                // SAFETY: nothing was made of the graph.
                let _ = unsafe { result::graph::destroy(graph) };
                Err(error)
            }
        }
    }
}

impl Graph {
    /// Does the recorded work again.
    pub fn replay(&self) {
        self.cuda.bind();
        // SAFETY: the graph lives, and so does the memory that it names.
        must(unsafe { result::graph::launch(self.exec, self.cuda.stream()) });
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        self.cuda.bind();
        // SAFETY: the stream is waited for, so no replay is under way.
        unsafe {
            let _ = result::stream::synchronize(self.cuda.stream());
            let _ = result::graph::exec_destroy(self.exec);
            let _ = result::graph::destroy(self.graph);
        }
        let blocks = std::mem::take(&mut self.blocks);
        self.cuda.with_pool(|pool| pool.adopt(blocks));
    }
}
