// Large products on Hopper with something more in them than a product: what is the same in all.
//
// A block multiplies tiles of 128 rows and 256 columns, one after another. One thread fetches
// operands into a ring of four slots (tensor memory accelerator, TMA); two warp groups of 64 rows
// each multiply. Two blocks, a cluster, work on the same columns, and each fetches half of the
// right operand for both. Boxes lie in panels of 64 rows of 64 numbers: in a slot first the left
// operand's, one a warp group, then the right one's four.

#if WARP_GROUPS
constexpr int SLOTS = 4, SLOT = 48 << 10;
// Pairs of row tiles that are worked on together, so that their rows stay in the L2 cache.
constexpr int BAND = 16;

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
// As `fetch`, of gates (0) or ups (1).
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
DEVICE void fetch_half_for_both(u32 to, const TensorMap *m, int col, int row, int half,
                                u32 barrier) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
               ".multicast::cluster [%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(to), "l"(m),
               "r"(barrier), "r"(col), "r"(row), "r"(half), "h"((unsigned short)3)
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
  DEVICE Ring(u32 slots) : slots(slots) {}
  DEVICE u32 data() { return slots + slot * SLOT; }
  DEVICE u32 panel(int i) { return data() + i * PANEL; }
  DEVICE u32 full() { return slots + SLOTS * SLOT + slot * 8; }
  DEVICE u32 empty() { return full() + SLOTS * 8; }
  DEVICE void next() {
    if (++slot == SLOTS) slot = 0, phase ^= 1;
  }
  // Before anything else; every thread of both blocks.
  DEVICE void start() {
    if (threadIdx.x == 0) {
      for (Ring at = *this; at.phase == 0; at.next()) {
        barrier_init(at.full(), 1);
        barrier_init(at.empty(), 4);
      }
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    cluster_sync();
  }
  // To fetch: waits until the slot is free, and lets it wait for so many bytes.
  DEVICE void take(u32 bytes) {
    barrier_wait(empty(), phase ^ 1);
    barrier_expect(full(), bytes);
  }
  // To read: waits until the slot is full.
  DEVICE void ready() { barrier_wait(full(), phase); }
};

// A warp group in the ring. It gives back a slot, which both blocks fetch to, one later: when the
// products that read it are done.
struct Reader {
  Ring ring;
  int group;
  // The thread that speaks for the group.
  bool one;
  u32 owed = 0;
  DEVICE Reader(Ring ring, int group)
      : ring(ring), group(group), one(threadIdx.x % 128 == 0) {}
  DEVICE void give_back(u32 empty) {
    barrier_arrive(empty, 0);
    barrier_arrive(empty, 1);
  }
  // Goes on; the slot before is free.
  DEVICE void next() {
    settle();
    owed = ring.empty();
    ring.next();
  }
  DEVICE void settle() {
    if (one && owed) give_back(owed);
    owed = 0;
  }
};

// The first row and column of two blocks' tiles, whose columns are so many.
DEVICE int2 pair_of_tiles(int pair, int row_pairs, int columns, int wide) {
  int band = pair / (BAND * columns), left = row_pairs - band * BAND;
  int rows = left < BAND ? left : BAND, within = pair - band * BAND * columns;
  return make_int2((band * BAND + within % rows) * 256, within / rows * wide);
}

DEVICE u32 cluster_rank() {
  u32 rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

// What a slot's products add to c, of `sixteens` times 16 inner numbers.
DEVICE void multiply_some(Reader &at, float *c, int sixteens) {
  at.ring.ready();
  u64 a = describe(at.ring.panel(at.group)), b = describe_turned(at.ring.panel(2), PANEL);
  for (int i = 0; i < sixteens; i++) {
    products_begin();
    Group<256>::multiply_across(c, a + i * 2, b + i * 128, 1);
    products_commit();
  }
  // Those of the slot before are done.
  products_wait<1>();
  at.next();
}
// All of a slot's, of a right operand that lies along the inner dimension, or across it.
template <bool ACROSS> DEVICE void multiply(Reader &at, float *c, bool first) {
  at.ring.ready();
  u64 a = describe(at.ring.panel(at.group));
  u64 b = ACROSS ? describe_turned(at.ring.panel(2), PANEL) : describe(at.ring.panel(2));
  products_begin();
#pragma unroll
  for (int i = 0; i < 4; i++) {
    if (ACROSS)
      Group<256>::multiply_across(c, a + i * 2, b + i * 128, !first || i);
    else
      Group<256>::multiply(c, a + i * 2, b + i * 2, !first || i);
  }
  products_commit();
  products_wait<1>();
  // What was put from the slot before has been read.
  if (first && at.one) put_wait<0>();
  at.next();
}
// A thread's first row of its warp group's 64; its second is eight further.
DEVICE int row_in_group() { return (threadIdx.x / 32 & 3) * 16 + (threadIdx.x & 31) / 4; }
// Word j of lane i becomes word i of lane j, among four lanes.
DEVICE void turn_in_quad(u32 *w) {
#pragma unroll
  for (int bit = 1; bit < 4; bit *= 2) {
    bool high = threadIdx.x & bit;
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (i & bit) continue;
      u32 other = __shfl_xor_sync(~0u, high ? w[i] : w[i | bit], bit);
      w[i] = high ? other : w[i];
      w[i | bit] = high ? w[i | bit] : other;
    }
  }
}
DEVICE void write16(hf *to, const u32 *w) {
  *(uint4 *)to = make_uint4(w[0], w[1], w[2], w[3]);
}
#endif

#if WARP_GROUPS
#define PAIRED __launch_bounds__(384, 1) __cluster_dims__(2, 1, 1)
#else
#define PAIRED __launch_bounds__(384, 1)
#endif
