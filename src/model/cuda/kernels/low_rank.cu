// Low-rank parts of rows that each have an adapter of their own, or none.

// One adapter at one site: `a` is [width, inputs] with the scale inside, `b` of a part is
// [rank, out] and goes to the columns from `output` on.
struct Part {
  u64 b;
  int first, rank, output, out;
};
struct SiteAdapter {
  u64 a;
  int width, parts;
  Part part[3];
};

// t[row] = x[row] A^T of the row's adapter. Grid: (groups of ROWS rows, shares of the inner row). A
// row's sum is formed in the same order whatever the rows beside it.
template <int ROWS>
DEVICE void down_rows(const bf *x, float *t, const SiteAdapter *table, const int *adapter,
                      int rows, int inputs, int t_stride) {
  int first = blockIdx.x * ROWS, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  int count = min(ROWS, rows - first), warps = blockDim.x >> 5;
  for (int lead = 0; lead < count; lead++) {
    int which = adapter[first + lead];
    if (which < 0) continue;
    bool seen = false;
    for (int i = 0; i < lead; i++) seen |= adapter[first + i] == which;
    if (seen) continue;
    const SiteAdapter *site = table + which;
    for (int r = blockIdx.y * warps + warp; r < site->width; r += warps * gridDim.y) {
      const bf *a = (const bf *)site->a + (u64)r * inputs;
      float sum[ROWS];
      for (int i = 0; i < ROWS; i++) sum[i] = 0.f;
#pragma unroll 4
      for (int k = lane * 8; k < inputs; k += 256) {
        Eight m;
        m.v = *(const uint4 *)(a + k);
#pragma unroll
        for (int i = 0; i < ROWS; i++) {
          if (i >= count) break;
          Eight v;
          v.v = *(const uint4 *)(x + (u64)(first + i) * inputs + k);
          for (int j = 0; j < 8; j++) sum[i] += wide(m.h[j]) * wide(v.h[j]);
        }
      }
#pragma unroll
      for (int i = 0; i < ROWS; i++) {
        float v = warp_sum(sum[i]);
        if (lane == 0 && i < count && adapter[first + i] == which)
          t[(u64)(first + i) * t_stride + r] = v;
      }
    }
  }
}
KERNEL low_rank_down_1(const bf *x, float *t, const SiteAdapter *table, const int *adapter,
                       int rows, int inputs, int t_stride) {
  down_rows<1>(x, t, table, adapter, rows, inputs, t_stride);
}
KERNEL low_rank_down_8(const bf *x, float *t, const SiteAdapter *table, const int *adapter,
                       int rows, int inputs, int t_stride) {
  down_rows<8>(x, t, table, adapter, rows, inputs, t_stride);
}

// y[row] += t[row] B^T. Grid: (columns / 2048, rows). y is bf16, or F32 (its first plane).
KERNEL low_rank_up(const float *t, void *y, const SiteAdapter *table, const int *adapter,
                   int outputs, int t_stride, int is_f32) {
  int row = blockIdx.y, which = adapter[row];
  int n = (blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (which < 0 || n >= outputs) return;
  const SiteAdapter *site = table + which;
  for (int p = 0; p < site->parts; p++) {
    Part part = site->part[p];
    if (n < part.output || n >= part.output + part.out) continue;
    float sum[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
    const bf *b = (const bf *)part.b + (n - part.output);
    const float *mine = t + (u64)row * t_stride + part.first;
    for (int r = 0; r < part.rank; r++) {
      Eight m;
      m.v = *(const uint4 *)(b + (u64)r * part.out);
      float f = mine[r];
      for (int j = 0; j < 8; j++) sum[j] += f * wide(m.h[j]);
    }
    if (is_f32) {
      float *to = (float *)y + (u64)row * outputs + n;
      for (int j = 0; j < 8; j++) to[j] += sum[j];
    } else {
      uint4 *to = (uint4 *)((bf *)y + (u64)row * outputs + n);
      Eight v;
      v.v = *to;
      for (int j = 0; j < 8; j++) v.h[j] = narrow(wide(v.h[j]) + sum[j]);
      *to = v.v;
    }
  }
}
