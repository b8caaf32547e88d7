// Kernels of one row at a time: norms, gated activation, embedding, gathering.

// Eight numbers of a row that is F32 (the residual stream and its gradient) or hf.
DEVICE void read8(const void *x, u64 at, int f32, float *v) {
  if (f32) {
    float4 low = ((const float4 *)((const float *)x + at))[0];
    float4 high = ((const float4 *)((const float *)x + at))[1];
    v[0] = low.x; v[1] = low.y; v[2] = low.z; v[3] = low.w;
    v[4] = high.x; v[5] = high.y; v[6] = high.z; v[7] = high.w;
  } else {
    Eight a;
    a.v = *(const uint4 *)((const hf *)x + at);
    for (int j = 0; j < 8; j++) v[j] = wide(a.h[j]);
  }
}
DEVICE void write8_half(hf *x, u64 at, const float *v) {
  Eight a;
  for (int j = 0; j < 8; j++) a.h[j] = narrow(v[j]);
  *(uint4 *)(x + at) = a.v;
}
DEVICE void write8(void *x, u64 at, int f32, const float *v) {
  if (f32) {
    ((float4 *)((float *)x + at))[0] = make_float4(v[0], v[1], v[2], v[3]);
    ((float4 *)((float *)x + at))[1] = make_float4(v[4], v[5], v[6], v[7]);
  } else {
    write8_half((hf *)x, at, v);
  }
}

// Eight numbers of a row that is hf, or F32 in so many partial sums.
DEVICE void read8_sum(const void *x, u64 at, int planes, u64 plane, float *v) {
  read8(x, at, planes > 0, v);
  for (int p = 1; p < planes; p++) {
    float more[8];
    read8((const float *)x + p * plane, at, 1, more);
    for (int j = 0; j < 8; j++) v[j] += more[j];
  }
}

KERNEL norm_rows(const void *x, const float *w, hf *y, int n, float eps, int planes, u64 plane) {
  __shared__ float room[32];
  take_turn();
  u64 at = (u64)blockIdx.x * n;
  float s = 0, v[8];
  for (int i = threadIdx.x * 8; i < n; i += blockDim.x * 8) {
    read8_sum(x, at + i, planes, plane, v);
    for (int j = 0; j < 8; j++) s += v[j] * v[j];
  }
  float r = rsqrtf(block_sum(s, room) / n + eps);
  for (int i = threadIdx.x * 8; i < n; i += blockDim.x * 8) {
    read8_sum(x, at + i, planes, plane, v);
    // In the order of sum_norm_rows: a layer that is computed again has the same bits.
    for (int j = 0; j < 8; j++) v[j] = v[j] * r * w[i + j];
    write8_half(y, at + i, v);
  }
}

// sum = x + y; normed = norm(sum). `planes` > 0: y is F32 in that many partial sums. x and sum are
// of one kind.
KERNEL sum_norm_rows(const void *x, const void *y, void *sum, hf *normed, const float *w, int n,
                     float eps, int planes, u64 plane, int f32) {
  extern __shared__ float row[];
  __shared__ float room[32];
  take_turn();
  u64 at = (u64)blockIdx.x * n;
  float s = 0;
  for (int i = threadIdx.x * 8; i < n; i += blockDim.x * 8) {
    float v[8], add[8];
    read8(x, at + i, f32, v);
    read8(y, at + i, planes > 0, add);
#pragma unroll 8
    for (int q = 1; q < planes; q++) {
      float more[8];
      read8(y, at + i + q * plane, 1, more);
      for (int j = 0; j < 8; j++) add[j] += more[j];
    }
    for (int j = 0; j < 8; j++) {
      v[j] += add[j];
      if (!f32) v[j] = wide(narrow(v[j]));
      row[i + j] = v[j];
      s += v[j] * v[j];
    }
    write8(sum, at + i, f32, v);
  }
  if (normed == 0) return;
  float r = rsqrtf(block_sum(s, room) / n + eps);
  for (int i = threadIdx.x * 8; i < n; i += blockDim.x * 8) {
    float v[8];
    for (int j = 0; j < 8; j++) v[j] = row[i + j] * r * w[i + j];
    write8_half(normed, at + i, v);
  }
}

// dx += the gradient of a norm by x; `half` gets dx as hf for the products that read it.
KERNEL norm_backward_rows(const void *x, const float *w, const void *dy, void *dx, hf *half, int n,
                          float eps, int x_f32, int dy_f32, int dx_f32) {
  __shared__ float room[32];
  u64 at = (u64)blockIdx.x * n;
  float s = 0, d = 0, v[8], g[8], t[8];
  for (int i = threadIdx.x * 8; i < n; i += blockDim.x * 8) {
    read8(x, at + i, x_f32, v);
    read8(dy, at + i, dy_f32, g);
    for (int j = 0; j < 8; j++) {
      s += v[j] * v[j];
      d += v[j] * w[i + j] * g[j];
    }
  }
  s = block_sum(s, room);
  d = block_sum(d, room);
  float r = rsqrtf(s / n + eps), k = r * r * r * d / n;
  for (int i = threadIdx.x * 8; i < n; i += blockDim.x * 8) {
    read8(x, at + i, x_f32, v);
    read8(dy, at + i, dy_f32, g);
    read8(dx, at + i, dx_f32, t);
    for (int j = 0; j < 8; j++) t[j] += r * w[i + j] * g[j] - k * v[j];
    write8(dx, at + i, dx_f32, t);
    if (half) write8_half(half, at + i, t);
  }
}

// With the reciprocal in one instruction: it is also computed where a product waits for it.
DEVICE float sigmoid(float x) {
  float r;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(1.f + __expf(-x)));
  return r;
}
DEVICE float gated(float gate, float up) { return gate * sigmoid(gate) * up; }
// The gradients of silu(gate) * up by gate and by up, given that by the result.
DEVICE void gate_gradient(float gate, float up, float dy, float *d_gate, float *d_up) {
  float s = sigmoid(gate);
  *d_up = dy * gate * s;
  *d_gate = dy * up * s * (1.f + gate * (1.f - s));
}

// `gelu(x) = x * sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3))`, the form with tanh; and its gradient.
#define GELU_SLOPE 1.5957691f
#define GELU_CUBE 0.044715f
DEVICE float gelu_gated(float gate, float up) {
  return gate * sigmoid(GELU_SLOPE * (gate + GELU_CUBE * gate * gate * gate)) * up;
}
DEVICE void gelu_gate_gradient(float gate, float up, float dy, float *d_gate, float *d_up) {
  float s = sigmoid(GELU_SLOPE * (gate + GELU_CUBE * gate * gate * gate));
  float slope = GELU_SLOPE * (1.f + 3.f * GELU_CUBE * gate * gate);
  *d_gate = dy * up * s * (1.f + gate * slope * (1.f - s));
  *d_up = dy * gate * s;
}

KERNEL gate_rows(const hf *gate_up, hf *y, int n8, u64 total8, int gelu) {
  take_turn();
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total8) return;
  u64 row = i / n8, col = i % n8;
  Eight g, u, c;
  g.v = ((const uint4 *)gate_up)[row * 2 * n8 + col];
  u.v = ((const uint4 *)gate_up)[row * 2 * n8 + n8 + col];
  for (int j = 0; j < 8; j++) {
    float gate = wide(g.h[j]), up = wide(u.h[j]);
    c.h[j] = narrow(gelu ? gelu_gated(gate, up) : gated(gate, up));
  }
  ((uint4 *)y)[i] = c.v;
}

KERNEL gate_backward_rows(const hf *gate_up, const hf *dy, hf *d, int n8, u64 total8,
                          int gelu) {
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total8) return;
  u64 row = i / n8, col = i % n8;
  Eight g, u, t, dg, du;
  g.v = ((const uint4 *)gate_up)[row * 2 * n8 + col];
  u.v = ((const uint4 *)gate_up)[row * 2 * n8 + n8 + col];
  t.v = ((const uint4 *)dy)[i];
  for (int j = 0; j < 8; j++) {
    float by_gate, by_up;
    float gate = wide(g.h[j]), up = wide(u.h[j]), by = wide(t.h[j]);
    if (gelu)
      gelu_gate_gradient(gate, up, by, &by_gate, &by_up);
    else
      gate_gradient(gate, up, by, &by_gate, &by_up);
    dg.h[j] = narrow(by_gate);
    du.h[j] = narrow(by_up);
  }
  ((uint4 *)d)[row * 2 * n8 + col] = dg.v;
  ((uint4 *)d)[row * 2 * n8 + n8 + col] = du.v;
}

// y[row] = x[index[row]], of n8 times 16 bytes; a negative index gives zeros.
KERNEL gather_rows(const hf *x, const int *index, hf *y, int n8) {
  int from = index[blockIdx.x];
  uint4 zero = make_uint4(0, 0, 0, 0);
  for (int i = threadIdx.x; i < n8; i += blockDim.x)
    ((uint4 *)y)[(u64)blockIdx.x * n8 + i] = from < 0 ? zero : ((const uint4 *)x)[(u64)from * n8 + i];
}

// y[index[row]] = x[row]; a negative index is skipped.
KERNEL scatter_rows(const hf *x, const int *index, hf *y, int n8) {
  int to = index[blockIdx.x];
  if (to < 0) return;
  for (int i = threadIdx.x; i < n8; i += blockDim.x)
    ((uint4 *)y)[(u64)to * n8 + i] = ((const uint4 *)x)[(u64)blockIdx.x * n8 + i];
}

// y[index[row]] += x[row], and its copy of 16 bits.
KERNEL scatter_add_rows(const void *x, const int *index, void *y, hf *half, int n, int f32) {
  u64 to = (u64)index[blockIdx.x] * n, from = (u64)blockIdx.x * n;
  for (int i = threadIdx.x * 8; i < n; i += blockDim.x * 8) {
    float a[8], b[8];
    read8(x, from + i, f32, a);
    read8(y, to + i, f32, b);
    for (int j = 0; j < 8; j++) b[j] += a[j];
    write8(y, to + i, f32, b);
    if (half) write8_half(half, to + i, b);
  }
}

// The tokens' rows of the embedding as F32.
KERNEL embed_rows(const hf *embedding, const int *tokens, float *x, int n, float scale) {
  take_turn();
  u64 from = (u64)tokens[blockIdx.x] * n, to = (u64)blockIdx.x * n;
  for (int i = threadIdx.x * 8; i < n; i += blockDim.x * 8) {
    float v[8];
    read8(embedding, from + i, 0, v);
    for (int j = 0; j < 8; j++) v[j] *= scale;
    write8(x, to + i, 1, v);
  }
}

KERNEL add_bias_rows(hf *y, const hf *b, int n8, u64 total8) {
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= total8) return;
  Eight a, c;
  a.v = ((const uint4 *)y)[i];
  c.v = ((const uint4 *)b)[i % n8];
  for (int j = 0; j < 8; j++) a.h[j] = narrow(wide(a.h[j]) + wide(c.h[j]));
  ((uint4 *)y)[i] = a.v;
}

// Uniform numbers in +-width, a function of seed and place.
KERNEL random_numbers(hf *y, u64 n, u64 seed, float width) {
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (u64)gridDim.x * blockDim.x) {
    u64 z = scrambled(i, seed);
    z ^= z >> 31;
    y[i] = narrow(((float)(z >> 40) * (2.f / 16777216.f) - 1.f) * width);
  }
}

// Copies the first `rows` rows of keys and values from one slot to another.
KERNEL copy_slot(hf *keys, hf *values, u64 from, u64 to, u64 count8) {
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count8) return;
  ((uint4 *)keys)[to + i] = ((uint4 *)keys)[from + i];
  ((uint4 *)values)[to + i] = ((uint4 *)values)[from + i];
}
