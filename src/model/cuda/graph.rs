//! Work that is recorded once and replayed: a step of hundreds of kernels for one call.

use std::sync::Arc;

use cudarc::driver::{result, sys};

use super::context::{Context, Cuda, broken, must};
use super::memory::{Blocks, Pool};
use crate::model::ModelError;

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
    /// # Errors
    /// That of `work`; the device's memory is full.
    ///
    /// # Panics
    /// When the GPU fails.
    pub fn record<T>(
        &self,
        mut work: impl FnMut() -> Result<T, ModelError>,
    ) -> Result<(Graph, T), ModelError> {
        let mut whole = || {
            let result = work()?;
            self.had_room().map(|()| result)
        };
        let context = self.0.clone();
        context.with_pool(|pool| pool.begin_capture(Blocks::new()));
        let recorded = whole().map(drop).and_then(|()| {
            self.synchronize();
            self.capture(whole)
        });
        let blocks = context.with_pool(Pool::end_capture);
        match recorded {
            Ok(((graph, exec), result)) => {
                let recorded = Graph {
                    context,
                    graph,
                    exec,
                    blocks,
                };
                Ok((recorded, result))
            }
            Err(error) => {
                context.with_pool(|pool| pool.adopt(blocks));
                Err(error)
            }
        }
    }

    fn capture<T>(
        &self,
        work: impl FnOnce() -> Result<T, ModelError>,
    ) -> Result<((sys::CUgraph, sys::CUgraphExec), T), ModelError> {
        let stream = self.0.stream;
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
                .map_err(|e| broken("a step cannot be recorded", e))
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
