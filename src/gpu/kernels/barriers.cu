// Barriers in shared memory that count bytes, and copies that arrive at them, on Hopper.

// A matrix in global memory as TMA knows it.
struct __align__(64) TensorMap { u64 words[16]; };

#if WARP_GROUPS
DEVICE void barrier_init(u32 at, u32 count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(count));
}
// Arrives, and lets the phase wait for so many bytes.
DEVICE void barrier_expect(u32 at, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes)
               : "memory");
}
DEVICE void barrier_wait(u32 at, u32 phase) {
  asm volatile("{.reg .pred p;\n"
               "again: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
               "@!p bra again;}" ::"r"(at), "r"(phase)
               : "memory");
}
// Arrives at a barrier of this block.
DEVICE void barrier_arrive_here(u32 at) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(at) : "memory");
}
// A box from a column and row on.
DEVICE void fetch(u32 to, const TensorMap *m, int col, int row, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
               "[%0], [%1, {%3, %4}], [%2];" ::"r"(to), "l"(m), "r"(barrier), "r"(col), "r"(row)
               : "memory");
}
// Bytes that lie side by side, a multiple of 16.
DEVICE void fetch_bytes(u32 to, const void *from, u32 bytes, u32 barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
               "[%0], [%1], %2, [%3];" ::"r"(to), "l"(from), "r"(bytes), "r"(barrier)
               : "memory");
}
#endif
