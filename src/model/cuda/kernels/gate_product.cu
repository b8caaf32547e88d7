// The gradient through the down projection and the gated activation in one kernel, on Hopper: the
// activation's gradient is formed from the product's sums while they are in registers, instead of
// by a kernel of its own that reads them again.
//
// A block multiplies tiles of 128 rows and 256 columns, one after another. One thread fetches
// operands into a ring of four slots (tensor memory accelerator, TMA); two warp groups of 64 rows
// each multiply. Two blocks, a cluster, work on the same columns, and each fetches half of the
// right operand for both. Gates and ups of a tile come through the same ring, and their gradients
// leave from where they stood. Boxes lie in panels of 64 rows of 64 numbers.

// A matrix in global memory as TMA knows it.
struct __align__(64) TensorMap { u64 words[16]; };

#if WARP_GROUPS
constexpr int SLOTS = 4, SLOT = 48 << 10;
// Pairs of row tiles that are worked on together, so that their rows stay in the L2 cache.
constexpr int BAND = 16;

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
// Arrives at a barrier of a block of the cluster. It orders what this block did; an order of the
// whole cluster would cost a fence every time, which halves the speed.
DEVICE void barrier_arrive(u32 at, u32 block) {
  asm volatile("{.reg .b32 there; mapa.shared::cluster.u32 there, %0, %1;\n"
               "mbarrier.arrive.shared::cluster.b64 _, [there];}" ::"r"(at), "r"(block)
               : "memory");
}
DEVICE void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
}
// A box from a column and row on.
DEVICE void fetch(u32 to, const TensorMap *m, int col, int row, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
               "[%0], [%1, {%3, %4}], [%2];" ::"r"(to), "l"(m), "r"(barrier), "r"(col), "r"(row)
               : "memory");
}
// The same of gates (0) or ups (1).
DEVICE void fetch_half(u32 to, const TensorMap *m, int col, int row, int half, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
               "[%0], [%1, {%3, %4, %5}], [%2];" ::"r"(to), "l"(m), "r"(barrier), "r"(col),
               "r"(row), "r"(half)
               : "memory");
}
// For both blocks of the cluster.
DEVICE void fetch_for_both(u32 to, const TensorMap *m, int col, int row, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
               ".multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(to), "l"(m),
               "r"(barrier), "r"(col), "r"(row), "h"((unsigned short)3)
               : "memory");
}
DEVICE void put_half(const TensorMap *m, int col, int row, int half, u32 from) {
  asm volatile("cp.async.bulk.tensor.3d.global.shared::cta.bulk_group [%0, {%2, %3, %4}], "
               "[%1];" ::"l"(m), "r"(from), "r"(col), "r"(row), "r"(half)
               : "memory");
}
DEVICE void put_commit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
// Until all but so many puts have read shared memory.
template <int LEFT> DEVICE void put_wait() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(LEFT) : "memory");
}
DEVICE void sync_group(int group) {
  asm volatile("bar.sync %0, 128;" ::"r"(group + 1) : "memory");
}

// Where a thread stands in the ring.
struct Ring {
  u32 slots;
  int slot = 0;
  u32 phase = 0;
  DEVICE u32 data() { return slots + slot * SLOT; }
  DEVICE u32 full() { return slots + SLOTS * SLOT + slot * 8; }
  DEVICE u32 empty() { return full() + SLOTS * 8; }
  DEVICE void next() {
    if (++slot == SLOTS) slot = 0, phase ^= 1;
  }
};
// A warp group has done with a slot, which both blocks fetch to.
DEVICE void give_back(u32 empty) {
  barrier_arrive(empty, 0);
  barrier_arrive(empty, 1);
}

// The first row and column of two blocks' tiles.
DEVICE int2 pair_of_tiles(int pair, int row_pairs, int columns) {
  int band = pair / (BAND * columns), left = row_pairs - band * BAND;
  int rows = left < BAND ? left : BAND, within = pair - band * BAND * columns;
  return make_int2((band * BAND + within % rows) * 256, within / rows * 256);
}

DEVICE void gate_product(const TensorMap *dy, const TensorMap *weight, const TensorMap *gate_up,
                         const TensorMap *d, int row_pairs, int columns, int steps) {
  extern __shared__ __align__(1024) unsigned char room[];
  Ring ring;
  ring.slots = shared_address(room);
  u32 rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  if (threadIdx.x == 0) {
    for (Ring at = ring; at.phase == 0; at.next()) {
      barrier_init(at.full(), 1);
      barrier_init(at.empty(), 4);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  cluster_sync();
  int group = (int)threadIdx.x / 128 - 1, pairs = row_pairs * columns;
  if (group < 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == 0) {
      for (int pair = blockIdx.x / 2; pair < pairs; pair += gridDim.x / 2) {
        int2 tile = pair_of_tiles(pair, row_pairs, columns);
        int row = tile.x + rank * 128;
        for (int k = 0; k < steps; k++, ring.next()) {
          barrier_wait(ring.empty(), ring.phase ^ 1);
          barrier_expect(ring.full(), SLOT);
          fetch(ring.data(), dy, k * 64, row, ring.full());
          for (int i = 0; i < 2; i++) {
            int panel = rank * 2 + i;
            fetch_for_both(ring.data() + (2 + panel) * PANEL, weight, tile.y + panel * 64, k * 64,
                           ring.full());
          }
        }
        for (int e = 0; e < 4; e++, ring.next()) {
          barrier_wait(ring.empty(), ring.phase ^ 1);
          barrier_expect(ring.full(), 4 * PANEL);
          for (int half = 0; half < 2; half++)
            fetch_half(ring.data() + half * 2 * PANEL, gate_up, tile.y + e * 64, row, half,
                       ring.full());
        }
      }
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    bool one = threadIdx.x % 128 == 0;
    int lane = threadIdx.x & 31, in_group = (threadIdx.x / 32 & 3) * 16 + lane / 4;
    float c[128];
    // The slot that this group still has to give back.
    u32 owed = 0;
    for (int pair = blockIdx.x / 2; pair < pairs; pair += gridDim.x / 2) {
      int2 tile = pair_of_tiles(pair, row_pairs, columns);
      int row = tile.x + rank * 128 + group * 64;
      for (int k = 0; k < steps; k++) {
        barrier_wait(ring.full(), ring.phase);
        u64 a = describe(ring.data() + group * PANEL);
        u64 b = describe_turned(ring.data() + 2 * PANEL, PANEL);
        products_begin();
#pragma unroll
        for (int i = 0; i < 4; i++) Group<256>::multiply_across(c, a + i * 2, b + i * 128, k | i);
        products_commit();
        // Those before have read their slot.
        products_wait<1>();
        if (one && owed) {
          if (k == 0) put_wait<0>();
          give_back(owed);
        }
        owed = ring.empty();
        ring.next();
      }
      products_wait<0>();
      if (one) give_back(owed);
#pragma unroll
      for (int e = 0; e < 4; e++) {
        barrier_wait(ring.full(), ring.phase);
        u32 gates = ring.data() + group * PANEL + in_group * 128 + (lane & 3) * 4;
#pragma unroll
        for (int j = 0; j < 8; j++) {
#pragma unroll
          for (int r = 0; r < 2; r++) {
            u32 at = gates + r * 1024 + ((j ^ (lane / 4)) << 4);
            u32 g = shared_word(at), u = shared_word(at + 2 * PANEL);
            const float *dy_at = c + (e * 8 + j) * 4 + r * 2;
            float dg[2], du[2];
            gate_gradient(wide((bf)g), wide((bf)u), dy_at[0], dg, du);
            gate_gradient(wide((bf)(g >> 16)), wide((bf)(u >> 16)), dy_at[1], dg + 1, du + 1);
            set_shared_word(at, pack(dg[0], dg[1]));
            set_shared_word(at + 2 * PANEL, pack(du[0], du[1]));
          }
        }
        show_products();
        sync_group(group);
        if (one) {
          for (int half = 0; half < 2; half++)
            put_half(d, tile.y + e * 64, row, half, ring.data() + (half * 2 + group) * PANEL);
          put_commit();
          if (e) {
            put_wait<1>();
            give_back(owed);
          }
        }
        owed = ring.empty();
        ring.next();
      }
    }
    if (one) put_wait<0>();
  }
  __syncwarp();
  cluster_sync();
}
#else
DEVICE void gate_product(const TensorMap *, const TensorMap *, const TensorMap *,
                         const TensorMap *, int, int, int) {}
#endif

// d [gate | up] of silu(gate) * up, given the gradient dy by its product with `weight`.
KERNEL __launch_bounds__(384, 1)
#if WARP_GROUPS
    __cluster_dims__(2, 1, 1)
#endif
        gate_product_backward(const __grid_constant__ TensorMap dy,
                              const __grid_constant__ TensorMap weight,
                              const __grid_constant__ TensorMap gate_up,
                              const __grid_constant__ TensorMap d, int row_pairs, int columns,
                              int steps) {
  gate_product(&dy, &weight, &gate_up, &d, row_pairs, columns, steps);
}
