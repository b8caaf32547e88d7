// Products of few rows with a large weight, for tokens that are written one by one: what matters is
// that the weight streams through at the memory's rate.
//
// y[m, n] = x[m, k] W[n, k]^T with the weight as the left operand of Hopper's warp-group product:
// 128 of its rows a block, the inner dimension split over `gridDim.y` blocks whose partial sums stay
// apart, one plane each, for whoever reads the result. Every row of x is a column of the product,
// and its sums do not depend on the others.

#if __CUDA_ARCH__ >= 900
#define WARP_GROUPS 1
#else
#define WARP_GROUPS 0
#endif

#define INNER 64

#if WARP_GROUPS
template <int N> struct Group;
// clang-format off: generated lists of accumulators
template <> struct Group<16> {
  static DEVICE void multiply(float *c, u64 a, u64 b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 "
                 "{%0, %1, %2, %3, %4, %5, %6, %7}, "
                 "%8, %9, 1, 1, 1, 0, 0;"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7])
                 : "l"(a), "l"(b));
  }
};
template <> struct Group<32> {
  static DEVICE void multiply(float *c, u64 a, u64 b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 "
                 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15}, "
                 "%16, %17, 1, 1, 1, 0, 0;"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]), "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15])
                 : "l"(a), "l"(b));
  }
};
template <> struct Group<64> {
  static DEVICE void multiply(float *c, u64 a, u64 b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
                 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31}, "
                 "%32, %33, 1, 1, 1, 0, 0;"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]), "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]), "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]), "+f"(c[23]), "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]), "+f"(c[30]), "+f"(c[31])
                 : "l"(a), "l"(b));
  }
};
template <> struct Group<128> {
  static DEVICE void multiply(float *c, u64 a, u64 b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
                 "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, "
                 "%64, %65, 1, 1, 1, 0, 0;"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]), "+f"(c[4]), "+f"(c[5]), "+f"(c[6]), "+f"(c[7]), "+f"(c[8]), "+f"(c[9]), "+f"(c[10]), "+f"(c[11]), "+f"(c[12]), "+f"(c[13]), "+f"(c[14]), "+f"(c[15]), "+f"(c[16]), "+f"(c[17]), "+f"(c[18]), "+f"(c[19]), "+f"(c[20]), "+f"(c[21]), "+f"(c[22]), "+f"(c[23]), "+f"(c[24]), "+f"(c[25]), "+f"(c[26]), "+f"(c[27]), "+f"(c[28]), "+f"(c[29]), "+f"(c[30]), "+f"(c[31]), "+f"(c[32]), "+f"(c[33]), "+f"(c[34]), "+f"(c[35]), "+f"(c[36]), "+f"(c[37]), "+f"(c[38]), "+f"(c[39]), "+f"(c[40]), "+f"(c[41]), "+f"(c[42]), "+f"(c[43]), "+f"(c[44]), "+f"(c[45]), "+f"(c[46]), "+f"(c[47]), "+f"(c[48]), "+f"(c[49]), "+f"(c[50]), "+f"(c[51]), "+f"(c[52]), "+f"(c[53]), "+f"(c[54]), "+f"(c[55]), "+f"(c[56]), "+f"(c[57]), "+f"(c[58]), "+f"(c[59]), "+f"(c[60]), "+f"(c[61]), "+f"(c[62]), "+f"(c[63])
                 : "l"(a), "l"(b));
  }
};
// clang-format on

// A tile of rows of 64 numbers, chunks exchanged by the row's place among eight, as the hardware's
// 128-byte swizzle has it.
DEVICE u64 describe(u32 address) {
  return (u64)((address & 0x3ffff) >> 4) | (1ull << 16) | (64ull << 32) | (1ull << 62);
}
DEVICE void copy16_ahead(u32 to, const void *from, bool valid) {
  int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(bytes));
}

// GROUPS warp groups take BLOCKS times 64 outputs each.
template <int M, int GROUPS, int BLOCKS, int STAGES>
DEVICE void skinny(const bf *x, const bf *w, void *y, const float *bias, int m, int n, int k,
                   int y_stride, int tiles, int is_f32) {
  extern __shared__ __align__(1024) unsigned char room[];
  constexpr int OUTPUTS = 64 * GROUPS * BLOCKS, THREADS = 128 * GROUPS;
  constexpr int W_BYTES = OUTPUTS * INNER * 2, X_BYTES = M * INNER * 2, STAGE = W_BYTES + X_BYTES;
  u32 base = shared_address(room);
  int first = blockIdx.x * OUTPUTS, group = threadIdx.x >> 7, lane = threadIdx.x & 31;
  // Tiles of the inner dimension that this block takes.
  int from = blockIdx.y * tiles, to = min(from + tiles, (k + INNER - 1) / INNER);

  auto load_weights = [&](int tile) {
    if (tile >= to) return;
    u32 at = base + ((tile - from) % STAGES) * STAGE;
    int c = threadIdx.x & 7, column = tile * INNER + c * 8;
#pragma unroll
    for (int r = threadIdx.x >> 3; r < OUTPUTS; r += THREADS / 8) {
      bool valid = first + r < n && column < k;
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
  float sum[BLOCKS][M / 2];
#pragma unroll
  for (int o = 0; o < BLOCKS; o++)
#pragma unroll
    for (int i = 0; i < M / 2; i++) sum[o][i] = 0.f;
  // The weight does not wait for the kernel before, the rows are what it wrote.
  for (int s = 0; s < STAGES - 1; s++) load_weights(from + s);
  wait_for_previous();
  for (int s = 0; s < STAGES - 1; s++) load_rows(from + s);
  for (int tile = from; tile < to; tile++) {
    copy_wait<STAGES - 2>();
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    __syncthreads();
    // The stage of the tile before: every group has finished it.
    load_weights(tile + STAGES - 1);
    load_rows(tile + STAGES - 1);
    u32 at = base + ((tile - from) % STAGES) * STAGE;
    u64 b = describe(at + W_BYTES);
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#pragma unroll
    for (int o = 0; o < BLOCKS; o++) {
      u64 a = describe(at + (group * BLOCKS + o) * 64 * 128);
#pragma unroll
      for (int i = 0; i < INNER / 16; i++) Group<M>::multiply(sum[o], a + 2 * i, b + 2 * i);
    }
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
    asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  }
#pragma unroll
  for (int o = 0; o < BLOCKS; o++)
#pragma unroll
    for (int half = 0; half < 2; half++) {
      int column = first + (group * BLOCKS + o) * 64 + ((threadIdx.x >> 5) & 3) * 16 +
                   (lane >> 2) + half * 8;
      if (column >= n) continue;
      float add = bias && blockIdx.y == 0 ? bias[column] : 0.f;
#pragma unroll
      for (int j = 0; j < M / 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          int row = j * 8 + (lane & 3) * 2 + e;
          if (row >= m) continue;
          float v = sum[o][j * 4 + half * 2 + e] + add;
          u64 at = (u64)row * y_stride + column;
          if (is_f32)
            ((float *)y)[(u64)blockIdx.y * m * y_stride + at] = v;
          else
            ((bf *)y)[at] = narrow(v);
        }
    }
}
#else
template <int M, int GROUPS, int BLOCKS, int STAGES>
DEVICE void skinny(const bf *, const bf *, void *, const float *, int, int, int, int, int, int) {}
#endif

#define SKINNY(M, STAGES)                                                                          \
  KERNEL __launch_bounds__(256) skinny_##M(const bf *x, const bf *w, void *y, const float *bias,   \
                                           int m, int n, int k, int y_stride, int tiles,           \
                                           int is_f32) {                                           \
    skinny<M, 2, 1, STAGES>(x, w, y, bias, m, n, k, y_stride, tiles, is_f32);                                    \
  }
// Two blocks fit a processor.
SKINNY(16, 4)
SKINNY(32, 4)
SKINNY(64, 4)
SKINNY(128, 3)
