// Queries, keys, and values between the product and attention: norm of heads, rotation, storing.

// One head of `dim` numbers in a warp: a lane holds two neighbours of the lower half and the two
// that they are rotated with, 64 numbers of a half at a time.
#define PLACES 4

struct Head {
  float low[PLACES], high[PLACES];
};

// Where in its half the number at a place is.
DEVICE int at_place(int p) { return 2 * (threadIdx.x & 31) + 64 * (p >> 1) + (p & 1); }

DEVICE float2 planes_pair(const float *y, u64 at, int planes, u64 plane) {
  float2 v = *(const float2 *)(y + at);
#pragma unroll 8
  for (int s = 1; s < planes; s++) {
    float2 more = *(const float2 *)(y + at + s * plane);
    v.x += more.x;
    v.y += more.y;
  }
  return v;
}

DEVICE Head read_head(const void *x, u64 at, int half, int planes, u64 plane) {
  Head h;
#pragma unroll
  for (int p = 0; p < PLACES; p += 2) {
    int i = at_place(p);
    h.low[p] = h.low[p + 1] = h.high[p] = h.high[p + 1] = 0.f;
    if (i >= half) continue;
    if (planes > 0) {
      float2 low = planes_pair((const float *)x, at + i, planes, plane);
      float2 high = planes_pair((const float *)x, at + i + half, planes, plane);
      h.low[p] = low.x;
      h.low[p + 1] = low.y;
      h.high[p] = high.x;
      h.high[p + 1] = high.y;
    } else {
      u32 low = *(const u32 *)((const bf *)x + at + i);
      u32 high = *(const u32 *)((const bf *)x + at + i + half);
      h.low[p] = wide(low & 0xffff);
      h.low[p + 1] = wide(low >> 16);
      h.high[p] = wide(high & 0xffff);
      h.high[p + 1] = wide(high >> 16);
    }
  }
  return h;
}

DEVICE void write_head(bf *y, const Head &h, int half) {
#pragma unroll
  for (int p = 0; p < PLACES; p += 2) {
    int i = at_place(p);
    if (i >= half) continue;
    *(u32 *)(y + i) = pack(h.low[p], h.low[p + 1]);
    *(u32 *)(y + i + half) = pack(h.high[p], h.high[p + 1]);
  }
}

// As half precision: a query or a key.
DEVICE void write_half(bf *y, const Head &h, int half) {
#pragma unroll
  for (int p = 0; p < PLACES; p += 2) {
    int i = at_place(p);
    if (i >= half) continue;
    *(u32 *)(y + i) = pack_half(h.low[p], h.low[p + 1]);
    *(u32 *)(y + i + half) = pack_half(h.high[p], h.high[p + 1]);
  }
}

DEVICE float head_scale(const Head &h, int half, float eps) {
  float s = 0;
  for (int p = 0; p < PLACES; p++) s += h.low[p] * h.low[p] + h.high[p] * h.high[p];
  return rsqrtf(warp_sum(s) / (2 * half) + eps);
}

// From `[queries | keys | values]` of a row: rotated queries to q, and rotated keys, both in half
// precision, and values to their row of the cache. A row whose cache row is negative stores nothing.
// Grid: (rows, shares of the heads).
KERNEL place_heads(const void *qkv, bf *q, bf *keys, bf *values, const int *position,
                   const int *cache_row, const float *cos, const float *sin,
                   const float *q_norm, const float *k_norm, int queries, int kv, int dim,
                   float eps, int planes, u64 plane) {
  int row = blockIdx.x, warps = blockDim.x >> 5, half = dim / 2;
  int where = position[row], to = cache_row[row], total = queries + 2 * kv;
  int first = blockIdx.y * warps + (threadIdx.x >> 5);
  for (int h = first; h < total; h += warps * gridDim.y) {
    Head x = read_head(qkv, ((u64)row * total + h) * dim, half, planes, plane);
    if (h < queries + kv) {
      const float *w = h < queries ? q_norm : k_norm;
      float r = w ? head_scale(x, half, eps) : 1.f;
      for (int p = 0; p < PLACES; p++) {
        int i = at_place(p);
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
      write_half(q + ((u64)row * queries + h) * dim, x, half);
    else if (to >= 0 && h < queries + kv)
      write_half(keys + ((u64)to * kv + h - queries) * dim, x, half);
    else if (to >= 0)
      write_head(values + ((u64)to * kv + h - queries - kv) * dim, x, half);
  }
}

// The gradient by `[queries | keys | values]`, from that by rotated queries, and by keys and values
// of each query head. qkv is read only where heads have a norm.
KERNEL place_heads_backward(const void *qkv, const bf *__restrict__ dq,
                            const bf *__restrict__ dk, const bf *__restrict__ dv,
                            bf *__restrict__ d_qkv, const int *position, const float *cos, const float *sin,
                            const float *q_norm, const float *k_norm, int queries, int kv, int dim,
                            float eps, int planes, u64 plane) {
  int row = blockIdx.x, warps = blockDim.x >> 5, half = dim / 2;
  int where = position[row], total = queries + 2 * kv, group = queries / kv;
  for (int h = threadIdx.x >> 5; h < total; h += warps) {
    u64 at = ((u64)row * total + h) * dim;
    Head g;
    if (h < queries) {
      g = read_head(dq, ((u64)row * queries + h) * dim, half, 0, 0);
    } else {
      const bf *from = h < queries + kv ? dk : dv;
      int first = (h - queries - (h < queries + kv ? 0 : kv)) * group;
      g = read_head(from, ((u64)row * queries + first) * dim, half, 0, 0);
      // Many heads are under way at a time.
#pragma unroll 3
      for (int i = 1; i < group; i++) {
        Head more = read_head(from, ((u64)row * queries + first + i) * dim, half, 0, 0);
        for (int p = 0; p < PLACES; p++) {
          g.low[p] += more.low[p];
          g.high[p] += more.high[p];
        }
      }
    }
    if (h < queries + kv) {
      const float *w = h < queries ? q_norm : k_norm;
      for (int p = 0; p < PLACES; p++) {
        int i = at_place(p);
        if (i >= half) continue;
        float c = cos[(u64)where * half + i], s = sin[(u64)where * half + i];
        float a = g.low[p], b = g.high[p];
        g.low[p] = a * c + b * s;
        g.high[p] = b * c - a * s;
      }
      if (w) {
        Head x = read_head(qkv, at, half, planes, plane);
        float r = head_scale(x, half, eps), d = 0;
        for (int p = 0; p < PLACES; p++) {
          int i = at_place(p);
          if (i >= half) continue;
          g.low[p] *= w[i];
          g.high[p] *= w[i + half];
          d += x.low[p] * g.low[p] + x.high[p] * g.high[p];
        }
        float k = r * r * r * warp_sum(d) / dim;
        for (int p = 0; p < PLACES; p++) {
          g.low[p] = r * g.low[p] - k * x.low[p];
          g.high[p] = r * g.high[p] - k * x.high[p];
        }
      }
    }
    write_head(d_qkv + at, g, half);
  }
}
