// AdamW over all trained numbers at once, and the norm of their gradients.

// `half_copy` gets the numbers as hf for the next step's products.
KERNEL adamw(float *p, const float *g, float *m, float *v, hf *half_copy, u32 n, float scale,
             float new1, float b2, float new2, float epsilon, float decay, float step,
             float correction) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float gradient = g[i] * scale;
  float first = m[i] + new1 * (gradient - m[i]);
  float second = b2 * v[i] + new2 * gradient * gradient;
  m[i] = first;
  v[i] = second;
  float value = p[i] * decay - step * first / (sqrtf(second) / correction + epsilon);
  p[i] = value;
  half_copy[i] = narrow(value);
}

KERNEL half_copy_of(const float *p, hf *half_copy, u32 n) {
  u32 i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) half_copy[i] = narrow(p[i]);
}

// The sum of squares of each block's share, as F32 pairs the host adds in F64.
KERNEL square_sums(const float *g, float *sums, u32 n) {
  __shared__ float room[32];
  float s = 0.f;
  for (u32 i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x)
    s += g[i] * g[i];
  s = block_sum(s, room);
  if (threadIdx.x == 0) sums[blockIdx.x] = s;
}

// Philox4x32-10 (Salmon et al. 2011), as the host's.
DEVICE void philox(u32 *c, u32 k0, u32 k1) {
  for (int i = 0; i < 10; i++) {
    u64 p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
    u32 n0 = (u32)(p1 >> 32) ^ c[1] ^ k0, n2 = (u32)(p0 >> 32) ^ c[3] ^ k1;
    c[1] = (u32)p1;
    c[3] = (u32)p0;
    c[0] = n0;
    c[2] = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// y (+)= x times the dropout factors of a module: 0, or `keep`. The draws are the host's.
KERNEL dropped(const hf *x, hf *y, u64 n4, u32 k0, u32 k1, u32 module, u32 step, u32 last,
               float rate, float keep, int accumulate) {
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n4) return;
  u32 c[4] = {(u32)i, module, step, last};
  philox(c, k0, k1);
  for (int j = 0; j < 4; j++) {
    float f = (float)(c[j] >> 8) * (1.f / 16777216.f) < rate ? 0.f : keep;
    float v = wide(x[i * 4 + j]) * f;
    y[i * 4 + j] = narrow(accumulate ? wide(y[i * 4 + j]) + v : v);
  }
}
