// Products of few rows with a large weight, for tokens that are written one by one: what matters is
// that the weight streams through at the memory's rate.
//
// y[m, n] = x[m, k] W[n, k]^T with the weight as the left operand of Hopper's warp-group product:
// 64 of its rows a warp group, shared evenly among the blocks, the inner dimension split over
// `gridDim.y` blocks whose partial sums stay apart, one plane each, for whoever reads the result.
// Every row of x is a column of the product, and its sums do not depend on the others.

#define INNER 64

#if WARP_GROUPS
DEVICE void copy16_ahead(u32 to, const void *from, bool valid) {
  int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(bytes));
}

template <int M, int GROUPS, int STAGES>
DEVICE void skinny(const hf *x, const hf *w, void *y, const float *bias, int m, int n, int k,
                   int y_stride, int tiles, int is_f32) {
  extern __shared__ __align__(1024) unsigned char room[];
  constexpr int OUTPUTS = 64 * GROUPS, THREADS = 128 * GROUPS;
  constexpr int W_BYTES = OUTPUTS * INNER * 2, X_BYTES = M * INNER * 2, STAGE = W_BYTES + X_BYTES;
  u32 base = shared_address(room);
  int group = threadIdx.x >> 7, lane = threadIdx.x & 31;
  // 64 outputs each: all blocks have as many, or one more.
  int panels = (n + 63) / 64, each = panels / gridDim.x, more = panels % gridDim.x;
  int block = blockIdx.x, first = (block * each + min(block, more)) * 64;
  int mine = each + (block < more), end = min(first + mine * 64, n);
  // Tiles of the inner dimension that this block takes.
  int from = blockIdx.y * tiles, to = min(from + tiles, (k + INNER - 1) / INNER);

  auto load_weights = [&](int tile) {
    if (tile >= to) return;
    u32 at = base + ((tile - from) % STAGES) * STAGE;
    int c = threadIdx.x & 7, column = tile * INNER + c * 8;
#pragma unroll
    for (int r = threadIdx.x >> 3; r < OUTPUTS; r += THREADS / 8) {
      bool valid = first + r < end && column < k;
      copy16_ahead(at + r * 128 + ((c ^ (r & 7)) << 4),
                   valid ? w + (u64)(first + r) * k + column : w, valid);
    }
  };
  auto load_rows = [&](int tile) {
    if (tile < to) {
      u32 at = base + ((tile - from) % STAGES) * STAGE + W_BYTES;
      int c = threadIdx.x & 7, column = tile * INNER + c * 8;
#pragma unroll
      for (int r = threadIdx.x >> 3; r < M; r += THREADS / 8) {
        bool valid = r < m && column < k;
        copy16(at + r * 128 + ((c ^ (r & 7)) << 4), valid ? x + (u64)r * k + column : x, valid);
      }
    }
    copy_commit();
  };
  float sum[M / 2];
#pragma unroll
  for (int i = 0; i < M / 2; i++) sum[i] = 0.f;
  // The weight does not wait for the kernel before, the rows are what it wrote.
  for (int s = 0; s < STAGES - 1; s++) load_weights(from + s);
  take_turn();
  for (int s = 0; s < STAGES - 1; s++) load_rows(from + s);
  for (int tile = from; tile < to; tile++) {
    copy_wait<STAGES - 2>();
    show_products();
    __syncthreads();
    // The stage of the tile before: every group has finished it.
    load_weights(tile + STAGES - 1);
    load_rows(tile + STAGES - 1);
    u32 at = base + ((tile - from) % STAGES) * STAGE;
    u64 a = describe(at + group * 64 * 128), b = describe(at + W_BYTES);
    products_begin();
#pragma unroll
    for (int i = 0; i < INNER / 16; i++) Group<M>::multiply(sum, a + 2 * i, b + 2 * i);
    products_commit();
    products_wait<0>();
  }
  // What has 16 bits goes through shared memory, so that whole sectors are written.
  constexpr int WIDE = OUTPUTS + 8;
  hf *turned = (hf *)room;
  if (!is_f32) __syncthreads();
#pragma unroll
  for (int half = 0; half < 2; half++) {
    int place = group * 64 + ((threadIdx.x >> 5) & 3) * 16 + (lane >> 2) + half * 8;
    int column = first + place;
    if (column >= end) continue;
    float add = bias && blockIdx.y == 0 ? bias[column] : 0.f;
#pragma unroll
    for (int j = 0; j < M / 8; j++)
#pragma unroll
      for (int e = 0; e < 2; e++) {
        int row = j * 8 + (lane & 3) * 2 + e;
        float v = sum[j * 4 + half * 2 + e] + add;
        if (!is_f32)
          turned[row * WIDE + place] = narrow(v);
        else if (row < m)
          ((float *)y)[((u64)blockIdx.y * m + row) * y_stride + column] = v;
      }
  }
  if (is_f32) return;
  __syncthreads();
  for (int i = threadIdx.x; i < m * OUTPUTS / 8; i += THREADS) {
    int row = i / (OUTPUTS / 8), place = i % (OUTPUTS / 8) * 8, column = first + place;
    const hf *from = turned + row * WIDE + place;
    hf *to = (hf *)y + (u64)row * y_stride + column;
    if (column + 8 <= end)
      *(uint4 *)to = *(const uint4 *)from;
    else
      for (int j = 0; j < end - column; j++) to[j] = from[j];
  }
}
#else
template <int M, int GROUPS, int STAGES>
DEVICE void skinny(const hf *, const hf *, void *, const float *, int, int, int, int, int, int) {}
#endif

#define SKINNY(NAME, M, GROUPS, STAGES)                                                            \
  KERNEL __launch_bounds__(128 * GROUPS) NAME(const hf *x, const hf *w, void *y,                   \
                                              const float *bias, int m, int n, int k,              \
                                              int y_stride, int tiles, int is_f32) {               \
    skinny<M, GROUPS, STAGES>(x, w, y, bias, m, n, k, y_stride, tiles, is_f32);                    \
  }
// Two blocks fit a processor.
SKINNY(skinny_16, 16, 2, 4)
SKINNY(skinny_32, 32, 2, 4)
SKINNY(skinny_64, 64, 2, 4)
// One does, and takes more outputs for the rows that it reads.
SKINNY(skinny_wide_32, 32, 5, 4)
SKINNY(skinny_wide_64, 64, 5, 4)
SKINNY(skinny_wide_128, 128, 5, 3)
