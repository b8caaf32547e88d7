// Queries, keys, and values between the product and attention: norm of heads, rotation, storing.

// One head of `dim` numbers in a warp: lane i holds pairs (i, i + dim/2), (i + 32, ...), ...
#define PAIRS 4

struct Head {
  float low[PAIRS], high[PAIRS];
};

DEVICE Head read_head(const void *x, u64 at, int half, int planes, u64 plane, const float *bias,
                      int column) {
  Head h;
  int lane = threadIdx.x & 31;
  for (int p = 0; p < PAIRS; p++) {
    int i = lane + 32 * p;
    h.low[p] = h.high[p] = 0.f;
    if (i >= half) continue;
    if (planes > 0) {
      h.low[p] = planes_sum((const float *)x, at + i, planes, plane);
      h.high[p] = planes_sum((const float *)x, at + i + half, planes, plane);
      if (bias) {
        h.low[p] += bias[column + i];
        h.high[p] += bias[column + i + half];
      }
      h.low[p] = wide(narrow(h.low[p]));
      h.high[p] = wide(narrow(h.high[p]));
    } else {
      h.low[p] = wide(((const bf *)x)[at + i]);
      h.high[p] = wide(((const bf *)x)[at + i + half]);
    }
  }
  return h;
}

DEVICE void write_head(bf *y, const Head &h, int half) {
  int lane = threadIdx.x & 31;
  for (int p = 0; p < PAIRS; p++) {
    int i = lane + 32 * p;
    if (i >= half) continue;
    y[i] = narrow(h.low[p]);
    y[i + half] = narrow(h.high[p]);
  }
}

DEVICE float head_scale(const Head &h, int half, float eps) {
  float s = 0;
  for (int p = 0; p < PAIRS; p++) s += h.low[p] * h.low[p] + h.high[p] * h.high[p];
  return rsqrtf(warp_sum(s) / (2 * half) + eps);
}

// From `[queries | keys | values]` of a row: rotated queries to q, rotated keys and values to
// their row of the cache. A row whose cache row is negative stores nothing.
KERNEL place_heads(const void *qkv, bf *q, bf *keys, bf *values, const int *position,
                   const int *cache_row, const float *cos, const float *sin, const float *bias,
                   const float *q_norm, const float *k_norm, int queries, int kv, int dim,
                   float eps, int planes, u64 plane) {
  int row = blockIdx.x, warps = blockDim.x >> 5, lane = threadIdx.x & 31, half = dim / 2;
  int where = position[row], to = cache_row[row], total = queries + 2 * kv;
  for (int h = threadIdx.x >> 5; h < total; h += warps) {
    Head x = read_head(qkv, ((u64)row * total + h) * dim, half, planes, plane, bias, h * dim);
    if (h < queries + kv) {
      const float *w = h < queries ? q_norm : k_norm;
      float r = w ? head_scale(x, half, eps) : 1.f;
      for (int p = 0; p < PAIRS; p++) {
        int i = lane + 32 * p;
        if (i >= half) continue;
        float a = x.low[p], b = x.high[p];
        if (w) {
          a *= r * w[i];
          b *= r * w[i + half];
        }
        float c = cos[(u64)where * half + i], s = sin[(u64)where * half + i];
        x.low[p] = a * c - b * s;
        x.high[p] = b * c + a * s;
      }
    }
    if (h < queries)
      write_head(q + ((u64)row * queries + h) * dim, x, half);
    else if (to >= 0 && h < queries + kv)
      write_head(keys + ((u64)to * kv + h - queries) * dim, x, half);
    else if (to >= 0)
      write_head(values + ((u64)to * kv + h - queries - kv) * dim, x, half);
  }
}

// The gradient by `[queries | keys | values]`, from that by rotated queries, and by keys and values
// of each query head.
KERNEL place_heads_backward(const bf *qkv, const bf *dq, const bf *dk, const bf *dv, bf *d_qkv,
                            const int *position, const float *cos, const float *sin,
                            const float *q_norm, const float *k_norm, int queries, int kv, int dim,
                            float eps) {
  int row = blockIdx.x, warps = blockDim.x >> 5, lane = threadIdx.x & 31, half = dim / 2;
  int where = position[row], total = queries + 2 * kv, group = queries / kv;
  for (int h = threadIdx.x >> 5; h < total; h += warps) {
    u64 at = ((u64)row * total + h) * dim;
    Head g;
    if (h < queries) {
      g = read_head(dq, ((u64)row * queries + h) * dim, half, 0, 0, 0, 0);
    } else {
      const bf *from = h < queries + kv ? dk : dv;
      int first = (h - queries - (h < queries + kv ? 0 : kv)) * group;
      g = read_head(from, ((u64)row * queries + first) * dim, half, 0, 0, 0, 0);
      for (int i = 1; i < group; i++) {
        Head more = read_head(from, ((u64)row * queries + first + i) * dim, half, 0, 0, 0, 0);
        for (int p = 0; p < PAIRS; p++) {
          g.low[p] += more.low[p];
          g.high[p] += more.high[p];
        }
      }
    }
    if (h < queries + kv) {
      const float *w = h < queries ? q_norm : k_norm;
      for (int p = 0; p < PAIRS; p++) {
        int i = lane + 32 * p;
        if (i >= half) continue;
        float c = cos[(u64)where * half + i], s = sin[(u64)where * half + i];
        float a = g.low[p], b = g.high[p];
        g.low[p] = a * c + b * s;
        g.high[p] = b * c - a * s;
      }
      if (w) {
        Head x = read_head(qkv, at, half, 0, 0, 0, 0);
        float r = head_scale(x, half, eps), d = 0;
        for (int p = 0; p < PAIRS; p++) {
          int i = lane + 32 * p;
          if (i >= half) continue;
          g.low[p] *= w[i];
          g.high[p] *= w[i + half];
          d += x.low[p] * g.low[p] + x.high[p] * g.high[p];
        }
        float k = r * r * r * warp_sum(d) / dim;
        for (int p = 0; p < PAIRS; p++) {
          g.low[p] = r * g.low[p] - k * x.low[p];
          g.high[p] = r * g.high[p] - k * x.high[p];
        }
      }
    }
    write_head(d_qkv + at, g, half);
  }
}
