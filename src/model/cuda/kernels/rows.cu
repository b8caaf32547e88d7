// Kernels of one row at a time: norms, gated activation, embedding, gathering.

KERNEL norm_rows(const bf *x, const float *w, bf *y, int n, float eps) {
  __shared__ float room[32];
  const uint4 *xr = (const uint4 *)(x + (u64)blockIdx.x * n);
  uint4 *yr = (uint4 *)(y + (u64)blockIdx.x * n);
  float s = 0;
  for (int i = threadIdx.x; i < n / 8; i += blockDim.x) {
    Eight a;
    a.v = xr[i];
    for (int j = 0; j < 8; j++) s += wide(a.h[j]) * wide(a.h[j]);
  }
  float r = rsqrtf(block_sum(s, room) / n + eps);
  for (int i = threadIdx.x; i < n / 8; i += blockDim.x) {
    Eight a, c;
    a.v = xr[i];
    for (int j = 0; j < 8; j++) c.h[j] = narrow(wide(a.h[j]) * r * w[i * 8 + j]);
    yr[i] = c.v;
  }
}

// sum = x + y; normed = norm(sum). `planes` > 0: y is F32 in that many partial sums.
KERNEL sum_norm_rows(const bf *x, const void *y, bf *sum, bf *normed, const float *w, int n,
                     float eps, int planes, u64 plane) {
  extern __shared__ float row[];
  __shared__ float room[32];
  let_next_start();
  u64 at = (u64)blockIdx.x * n;
  float s = 0;
  for (int i = threadIdx.x; i < n / 8; i += blockDim.x) {
    Eight a, b, c;
    a.v = ((const uint4 *)(x + at))[i];
    if (planes == 0) b.v = ((const uint4 *)((const bf *)y + at))[i];
    float add[8];
    if (planes > 0) {
      const float4 *p = (const float4 *)((const float *)y + at + i * 8);
      float4 lo = p[0], hi = p[1];
#pragma unroll 8
      for (int q = 1; q < planes; q++) {
        const float4 *more = (const float4 *)((const float *)y + at + i * 8 + q * plane);
        float4 l = more[0], h = more[1];
        lo.x += l.x; lo.y += l.y; lo.z += l.z; lo.w += l.w;
        hi.x += h.x; hi.y += h.y; hi.z += h.z; hi.w += h.w;
      }
      add[0] = lo.x; add[1] = lo.y; add[2] = lo.z; add[3] = lo.w;
      add[4] = hi.x; add[5] = hi.y; add[6] = hi.z; add[7] = hi.w;
    } else {
      for (int j = 0; j < 8; j++) add[j] = wide(b.h[j]);
    }
    for (int j = 0; j < 8; j++) {
      c.h[j] = narrow(wide(a.h[j]) + add[j]);
      float v = wide(c.h[j]);
      row[i * 8 + j] = v;
      s += v * v;
    }
    ((uint4 *)(sum + at))[i] = c.v;
  }
  if (normed == 0) return;
  float r = rsqrtf(block_sum(s, room) / n + eps);
  for (int i = threadIdx.x; i < n / 8; i += blockDim.x) {
    Eight c;
    for (int j = 0; j < 8; j++) c.h[j] = narrow(row[i * 8 + j] * r * w[i * 8 + j]);
    ((uint4 *)(normed + at))[i] = c.v;
  }
}

// dx += the gradient of a norm by x.
KERNEL norm_backward_rows(const bf *x, const float *w, const bf *dy, bf *dx, int n, float eps) {
  __shared__ float room[32];
  u64 at = (u64)blockIdx.x * n;
  const uint4 *xr = (const uint4 *)(x + at), *gr = (const uint4 *)(dy + at);
  uint4 *out = (uint4 *)(dx + at);
  float s = 0, d = 0;
  for (int i = threadIdx.x; i < n / 8; i += blockDim.x) {
    Eight a, g;
    a.v = xr[i];
    g.v = gr[i];
    for (int j = 0; j < 8; j++) {
      float f = wide(a.h[j]);
      s += f * f;
      d += f * w[i * 8 + j] * wide(g.h[j]);
    }
  }
  s = block_sum(s, room);
  d = block_sum(d, room);
  float r = rsqrtf(s / n + eps), k = r * r * r * d / n;
  for (int i = threadIdx.x; i < n / 8; i += blockDim.x) {
    Eight a, g, c;
    a.v = xr[i];
    g.v = gr[i];
    c.v = out[i];
    for (int j = 0; j < 8; j++)
      c.h[j] = narrow(wide(c.h[j]) + r * w[i * 8 + j] * wide(g.h[j]) - k * wide(a.h[j]));
    out[i] = c.v;
  }
}

DEVICE float sigmoid(float x) { return 1.f / (1.f + __expf(-x)); }

KERNEL gate_rows(const bf *gate_up, bf *y, int n8, u64 total8) {
  let_next_start();
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total8) return;
  u64 row = i / n8, col = i % n8;
  Eight g, u, c;
  g.v = ((const uint4 *)gate_up)[row * 2 * n8 + col];
  u.v = ((const uint4 *)gate_up)[row * 2 * n8 + n8 + col];
  for (int j = 0; j < 8; j++) {
    float f = wide(g.h[j]);
    c.h[j] = narrow(f * sigmoid(f) * wide(u.h[j]));
  }
  ((uint4 *)y)[i] = c.v;
}

KERNEL gate_backward_rows(const bf *gate_up, const bf *dy, bf *d, int n8, u64 total8) {
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total8) return;
  u64 row = i / n8, col = i % n8;
  Eight g, u, t, dg, du;
  g.v = ((const uint4 *)gate_up)[row * 2 * n8 + col];
  u.v = ((const uint4 *)gate_up)[row * 2 * n8 + n8 + col];
  t.v = ((const uint4 *)dy)[i];
  for (int j = 0; j < 8; j++) {
    float f = wide(g.h[j]), s = sigmoid(f), y = wide(t.h[j]);
    du.h[j] = narrow(y * f * s);
    dg.h[j] = narrow(y * wide(u.h[j]) * s * (1.f + f * (1.f - s)));
  }
  ((uint4 *)d)[row * 2 * n8 + col] = dg.v;
  ((uint4 *)d)[row * 2 * n8 + n8 + col] = du.v;
}

// y[row] = x[index[row]], of n8 * 8 numbers; a negative index gives zeros.
KERNEL gather_rows(const bf *x, const int *index, bf *y, int n8) {
  int from = index[blockIdx.x];
  uint4 zero = make_uint4(0, 0, 0, 0);
  for (int i = threadIdx.x; i < n8; i += blockDim.x)
    ((uint4 *)y)[(u64)blockIdx.x * n8 + i] = from < 0 ? zero : ((const uint4 *)x)[(u64)from * n8 + i];
}

// y[index[row]] = x[row]; a negative index is skipped.
KERNEL scatter_rows(const bf *x, const int *index, bf *y, int n8) {
  int to = index[blockIdx.x];
  if (to < 0) return;
  for (int i = threadIdx.x; i < n8; i += blockDim.x)
    ((uint4 *)y)[(u64)to * n8 + i] = ((const uint4 *)x)[(u64)blockIdx.x * n8 + i];
}

// y[index[row]] += x[row]
KERNEL scatter_add_rows(const bf *x, const int *index, bf *y, int n8) {
  u64 to = index[blockIdx.x];
  for (int i = threadIdx.x; i < n8; i += blockDim.x) {
    Eight a, b;
    a.v = ((const uint4 *)x)[(u64)blockIdx.x * n8 + i];
    b.v = ((const uint4 *)y)[to * n8 + i];
    for (int j = 0; j < 8; j++) b.h[j] = narrow(wide(a.h[j]) + wide(b.h[j]));
    ((uint4 *)y)[to * n8 + i] = b.v;
  }
}

KERNEL add_bias_rows(bf *y, const bf *b, int n8, u64 total8) {
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total8) return;
  Eight a, c;
  a.v = ((const uint4 *)y)[i];
  c.v = ((const uint4 *)b)[i % n8];
  for (int j = 0; j < 8; j++) a.h[j] = narrow(wide(a.h[j]) + wide(c.h[j]));
  ((uint4 *)y)[i] = a.v;
}

// Uniform numbers in +-width, a function of seed and place.
KERNEL random_numbers(bf *y, u64 n, u64 seed, float width) {
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
    u64 z = i * 0x9E3779B97F4A7C15ull + seed;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    y[i] = narrow(((float)(z >> 40) * (2.f / 16777216.f) - 1.f) * width);
  }
}

// Copies the first `rows` rows of keys and values from one slot to another.
KERNEL copy_slot(bf *keys, bf *values, u64 from, u64 to, u64 count8) {
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count8) return;
  ((uint4 *)keys)[to + i] = ((uint4 *)keys)[from + i];
  ((uint4 *)values)[to + i] = ((uint4 *)values)[from + i];
}
