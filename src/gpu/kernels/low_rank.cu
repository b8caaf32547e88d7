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
#define ROWS 8
KERNEL low_rank_down(const hf *x, float *t, const SiteAdapter *table, const int *adapter, int rows,
                     int inputs, int t_stride) {
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
      const hf *a = (const hf *)site->a + (u64)r * inputs;
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
// y[row, n..n + 8] += t B^T of an adapter. y is hf, or F32 (its first plane).
DEVICE void add_up(const float *t, void *y, const SiteAdapter *site, u64 at, int n, int is_f32) {
  for (int p = 0; p < site->parts; p++) {
    Part part = site->part[p];
    if (n < part.output || n >= part.output + part.out) continue;
    float sum[8] = {0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f, 0.f};
    const hf *b = (const hf *)part.b + (n - part.output);
#pragma unroll 8
    for (int r = 0; r < part.rank; r++) {
      Eight m;
      m.v = *(const uint4 *)(b + (u64)r * part.out);
      float f = t[part.first + r];
      for (int j = 0; j < 8; j++) sum[j] += f * wide(m.h[j]);
    }
    if (is_f32) {
      float4 *to = (float4 *)((float *)y + at + n), low = to[0], high = to[1];
      to[0] = make_float4(low.x + sum[0], low.y + sum[1], low.z + sum[2], low.w + sum[3]);
      to[1] = make_float4(high.x + sum[4], high.y + sum[5], high.z + sum[6], high.w + sum[7]);
    } else {
      uint4 *to = (uint4 *)((hf *)y + at + n);
      Eight v;
      v.v = *to;
      for (int j = 0; j < 8; j++) v.h[j] = narrow(wide(v.h[j]) + sum[j]);
      *to = v.v;
    }
  }
}

// Brings what add_up will read of B nearer.
DEVICE void fetch_up(const SiteAdapter *site, int n) {
  for (int p = 0; p < site->parts; p++) {
    const Part &part = site->part[p];
    if (n < part.output || n >= part.output + part.out) continue;
    for (int r = 0; r < part.rank; r++)
      asm volatile("prefetch.global.L2 [%0];" ::"l"((const hf *)part.b + (n - part.output) +
                                                     (u64)r * part.out));
  }
}

// y[row] += t[row] B^T. Grid: (columns / 2048, rows).
KERNEL low_rank_up(const float *t, void *y, const SiteAdapter *table, const int *adapter,
                   int outputs, int t_stride, int is_f32) {
  int row = blockIdx.y, which = adapter[row];
  int n = (blockIdx.x * blockDim.x + threadIdx.x) * 8;
  if (which < 0 || n >= outputs) return;
  add_up(t + (u64)row * t_stride, y, table + which, (u64)row * outputs, n, is_f32);
}

// Both for one row a slot. Grid: (shares of the columns, rows). The warps share the inner rows, and
// where these are fewer, the columns of A: sums of a column's shares are added from the first on.
// Launched early: x is older than what the kernel before writes, which is y.
#define AHEAD 4
KERNEL __launch_bounds__(1024)
    low_rank_row(const hf *x, void *y, const SiteAdapter *table, const int *adapter, int inputs,
                 int outputs, int is_f32) {
  extern __shared__ float sums[];
  __shared__ SiteAdapter site;
  int row = blockIdx.y, which = adapter[row];
  if (which >= 0 && threadIdx.x < sizeof(SiteAdapter) / 4)
    ((u32 *)&site)[threadIdx.x] = ((const u32 *)(table + which))[threadIdx.x];
  __syncthreads();
  if (which < 0 || site.width == 0) {
    // What comes after this kernel counts on the one before it.
    wait_for_previous();
    return;
  }
  for (int n = (blockIdx.x * blockDim.x + threadIdx.x) * 8; n < outputs;
       n += gridDim.x * blockDim.x * 8)
    fetch_up(&site, n);
  int width = site.width, warps = blockDim.x >> 5, lane = threadIdx.x & 31;
  int shares = max(1, warps / width), eights = inputs / 8, each = (eights + shares - 1) / shares;
  const uint4 *mine = (const uint4 *)(x + (u64)row * inputs);
  for (int job = threadIdx.x >> 5; job < width * shares; job += warps) {
    int from = job / width * each, to = min(from + each, eights);
    const uint4 *a = (const uint4 *)((const hf *)site.a + (u64)(job % width) * inputs);
    float sum = 0.f;
    // Some loads are under way at a time, also at the end.
    for (int first = from + lane; first < to; first += 32 * AHEAD) {
      Eight m[AHEAD], v[AHEAD];
#pragma unroll
      for (int i = 0; i < AHEAD; i++) {
        int k = first + 32 * i;
        m[i].v = k < to ? a[k] : make_uint4(0, 0, 0, 0);
        v[i].v = k < to ? mine[k] : make_uint4(0, 0, 0, 0);
      }
#pragma unroll
      for (int i = 0; i < AHEAD; i++)
        for (int j = 0; j < 8; j++) sum += wide(m[i].h[j]) * wide(v[i].h[j]);
    }
    sum = warp_sum(sum);
    if (lane == 0) sums[job] = sum;
  }
  __syncthreads();
  for (int r = threadIdx.x; r < width; r += blockDim.x)
    for (int s = 1; s < shares; s++) sums[r] += sums[s * width + r];
  wait_for_previous();
  __syncthreads();
  for (int n = (blockIdx.x * blockDim.x + threadIdx.x) * 8; n < outputs;
       n += gridDim.x * blockDim.x * 8)
    add_up(sums, y, &site, (u64)row * outputs, n, is_f32);
}

// gain * y + shift of every row whose adapter changes the frozen product's outputs there: `place` says
// which pair of rows of the table is an adapter's, negative for none. Of a sum in planes, the gain is of
// each and the shift of the first.
KERNEL change_outputs(void *y, const float *table, const int *place, const int *adapter, int cols,
                      int planes, u64 plane) {
  int row = blockIdx.x, which = adapter[row];
  if (which < 0 || place[which] < 0) return;
  const float *gain = table + (u64)place[which] * 2 * cols, *shift = gain + cols;
  u64 at = (u64)row * cols;
  for (int i = threadIdx.x; i < cols; i += blockDim.x) {
    if (planes > 0) {
      float *sums = (float *)y + at + i;
      for (int p = 0; p < planes; p++)
        sums[p * plane] = gain[i] * sums[p * plane] + (p ? 0.f : shift[i]);
    } else {
      hf *one = (hf *)y + at + i;
      *one = narrow(gain[i] * wide(*one) + shift[i]);
    }
  }
}

// All the way is the other number, to the bit.
DEVICE float towards(float from, float to, float t) { return t == 1.f ? to : from + t * (to - from); }

// Rows of an adapter's own embedding in x, which holds the base's: `place` is each token's row of the
// table, negative for none.
KERNEL own_embedding(const hf *table, const int *place, const int *tokens, const int *adapter,
                     int which, float *x, int n, float scale, float t) {
  int row = blockIdx.x;
  if (adapter[row] != which) return;
  int from = place[tokens[row]];
  if (from < 0) return;
  float *mine = x + (u64)row * n;
  const hf *own = table + (u64)from * n;
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    mine[i] = towards(mine[i], wide(own[i]) * scale, t);
}

// Logits of an adapter's own head among the base's: column j of `own` is of token `tokens[j]`.
KERNEL own_head(float *logits, const float *own, const int *tokens, const int *adapter, int which,
                int count, int own_stride, int stride, float t) {
  int row = blockIdx.x;
  if (adapter[row] != which) return;
  float *mine = logits + (u64)row * stride;
  const float *other = own + (u64)row * own_stride;
  for (int j = threadIdx.x; j < count; j += blockDim.x)
    mine[tokens[j]] = towards(mine[tokens[j]], other[j], t);
}
