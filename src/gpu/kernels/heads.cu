// Queries, keys, and values between the product and attention: norm of heads, rotation, storing.

// One head of `dim` numbers in half a warp, or in a whole one where it is wider than 128: a lane holds
// four neighbours of the lower half and the four that they are rotated with. Lanes past the head hold
// zeros.

struct Head {
  float low[4], high[4];
};

template <int LANES> DEVICE int lane_of_head() { return threadIdx.x % LANES; }

DEVICE void four_of_planes(const float *y, int planes, u64 plane, float *v) {
  float4 sum = *(const float4 *)y;
#pragma unroll 8
  for (int s = 1; s < planes; s++) {
    float4 more = *(const float4 *)(y + s * plane);
    sum.x += more.x;
    sum.y += more.y;
    sum.z += more.z;
    sum.w += more.w;
  }
  v[0] = sum.x; v[1] = sum.y; v[2] = sum.z; v[3] = sum.w;
}
DEVICE void four_of_half(const hf *x, float *v) {
  uint2 four = *(const uint2 *)x;
  v[0] = wide((hf)four.x);
  v[1] = wide((hf)(four.x >> 16));
  v[2] = wide((hf)four.y);
  v[3] = wide((hf)(four.y >> 16));
}

template <int LANES> DEVICE Head read_head(const void *x, u64 at, int half, int planes, u64 plane) {
  Head h = {};
  int i = lane_of_head<LANES>() * 4;
  if (i >= half) return h;
  if (planes > 0) {
    four_of_planes((const float *)x + at + i, planes, plane, h.low);
    four_of_planes((const float *)x + at + i + half, planes, plane, h.high);
  } else {
    four_of_half((const hf *)x + at + i, h.low);
    four_of_half((const hf *)x + at + i + half, h.high);
  }
  return h;
}

template <int LANES> DEVICE void write_head(hf *y, const Head &h, int half) {
  int i = lane_of_head<LANES>() * 4;
  if (i >= half) return;
  *(uint2 *)(y + i) = make_uint2(pack(h.low[0], h.low[1]), pack(h.low[2], h.low[3]));
  *(uint2 *)(y + i + half) = make_uint2(pack(h.high[0], h.high[1]), pack(h.high[2], h.high[3]));
}

// As half precision: a query or a key.
template <int LANES> DEVICE void write_f16(hf *y, const Head &h, int half) {
  int i = lane_of_head<LANES>() * 4;
  if (i >= half) return;
  *(uint2 *)(y + i) = make_uint2(pack_f16(h.low[0], h.low[1]), pack_f16(h.low[2], h.low[3]));
  *(uint2 *)(y + i + half) =
      make_uint2(pack_f16(h.high[0], h.high[1]), pack_f16(h.high[2], h.high[3]));
}

// Four numbers of a table, of the head's lower half.
template <int LANES> DEVICE void four_of_table(const float *table, int half, float *v) {
  int i = lane_of_head<LANES>() * 4;
  float4 four = i < half ? *(const float4 *)(table + i) : make_float4(0.f, 0.f, 0.f, 0.f);
  v[0] = four.x; v[1] = four.y; v[2] = four.z; v[3] = four.w;
}

template <int LANES> DEVICE float head_sum(float v) {
  u32 lanes = LANES == 32 ? ~0u : 0xffffu << (threadIdx.x & LANES);
  for (int o = LANES / 2; o; o >>= 1) v += __shfl_xor_sync(lanes, v, o);
  return v;
}
template <int LANES> DEVICE float head_scale(const Head &h, int half, float eps) {
  float s = 0;
  for (int p = 0; p < 4; p++) s += h.low[p] * h.low[p] + h.high[p] * h.high[p];
  return rsqrtf(head_sum<LANES>(s) / (2 * half) + eps);
}

// From `[queries | keys | values]` of a row: rotated queries to q, and rotated keys, both in half
// precision, and values to their row of the cache. A row whose cache row is negative stores nothing.
// Grid: (rows, shares of the heads).
template <int LANES>
DEVICE void placed_heads(const void *qkv, hf *q, hf *keys, hf *values, const int *position,
                         const int *cache_row, const float *cos, const float *sin,
                         const float *q_norm, const float *k_norm, int queries, int kv, int dim,
                         float eps, int planes, u64 plane) {
  take_turn();
  int row = blockIdx.x, at_once = blockDim.x / LANES, half = dim / 2;
  int where = position[row], to = cache_row[row], total = queries + 2 * kv;
  float c[4], s[4];
  four_of_table<LANES>(cos + (u64)where * half, half, c);
  four_of_table<LANES>(sin + (u64)where * half, half, s);
  int first = blockIdx.y * at_once + threadIdx.x / LANES;
  for (int h = first; h < total; h += at_once * gridDim.y) {
    Head x = read_head<LANES>(qkv, ((u64)row * total + h) * dim, half, planes, plane);
    if (h < queries + kv) {
      const float *w = h < queries ? q_norm : k_norm;
      if (w) {
        float r = head_scale<LANES>(x, half, eps), low[4], high[4];
        four_of_table<LANES>(w, half, low);
        four_of_table<LANES>(w + half, half, high);
        for (int p = 0; p < 4; p++) x.low[p] *= r * low[p], x.high[p] *= r * high[p];
      }
      for (int p = 0; p < 4; p++) {
        float a = x.low[p], b = x.high[p];
        x.low[p] = a * c[p] - b * s[p];
        x.high[p] = b * c[p] + a * s[p];
      }
    }
    if (h < queries)
      write_f16<LANES>(q + ((u64)row * queries + h) * dim, x, half);
    else if (to >= 0 && h < queries + kv)
      write_f16<LANES>(keys + ((u64)to * kv + h - queries) * dim, x, half);
    else if (to >= 0)
      write_head<LANES>(values + ((u64)to * kv + h - queries - kv) * dim, x, half);
  }
}

// The gradient by `[queries | keys | values]`, from that by rotated queries, and by keys and values
// of each query head. qkv is read only where heads have a norm.
template <int LANES>
DEVICE void placed_heads_backward(const void *qkv, const hf *dq, const hf *dk, const hf *dv,
                                  hf *d_qkv, const int *position, const float *cos,
                                  const float *sin, const float *q_norm, const float *k_norm,
                                  int queries, int kv, int dim, float eps, int planes,
                                  u64 plane) {
  int row = blockIdx.x, at_once = blockDim.x / LANES, half = dim / 2;
  int where = position[row], total = queries + 2 * kv, group = queries / kv;
  float c[4], s[4];
  four_of_table<LANES>(cos + (u64)where * half, half, c);
  four_of_table<LANES>(sin + (u64)where * half, half, s);
  for (int h = threadIdx.x / LANES; h < total; h += at_once) {
    u64 at = ((u64)row * total + h) * dim;
    Head g;
    if (h < queries) {
      g = read_head<LANES>(dq, ((u64)row * queries + h) * dim, half, 0, 0);
    } else {
      const hf *from = h < queries + kv ? dk : dv;
      int first = (h - queries - (h < queries + kv ? 0 : kv)) * group;
      g = read_head<LANES>(from, ((u64)row * queries + first) * dim, half, 0, 0);
      // Some heads are under way at a time.
#pragma unroll 3
      for (int i = 1; i < group; i++) {
        Head more = read_head<LANES>(from, ((u64)row * queries + first + i) * dim, half, 0, 0);
        for (int p = 0; p < 4; p++) g.low[p] += more.low[p], g.high[p] += more.high[p];
      }
    }
    if (h < queries + kv) {
      for (int p = 0; p < 4; p++) {
        float a = g.low[p], b = g.high[p];
        g.low[p] = a * c[p] + b * s[p];
        g.high[p] = b * c[p] - a * s[p];
      }
      const float *w = h < queries ? q_norm : k_norm;
      if (w) {
        Head x = read_head<LANES>(qkv, at, half, planes, plane);
        float r = head_scale<LANES>(x, half, eps), d = 0, low[4], high[4];
        four_of_table<LANES>(w, half, low);
        four_of_table<LANES>(w + half, half, high);
        for (int p = 0; p < 4; p++) {
          g.low[p] *= low[p];
          g.high[p] *= high[p];
          d += x.low[p] * g.low[p] + x.high[p] * g.high[p];
        }
        float k = r * r * r * head_sum<LANES>(d) / dim;
        for (int p = 0; p < 4; p++) {
          g.low[p] = r * g.low[p] - k * x.low[p];
          g.high[p] = r * g.high[p] - k * x.high[p];
        }
      }
    }
    write_head<LANES>(d_qkv + at, g, half);
  }
}

#define PLACE_HEADS(NAME, LANES)                                                                    \
  KERNEL NAME(const void *qkv, hf *q, hf *keys, hf *values, const int *position,                    \
              const int *cache_row, const float *cos, const float *sin, const float *q_norm,        \
              const float *k_norm, int queries, int kv, int dim, float eps, int planes,             \
              u64 plane) {                                                                          \
    placed_heads<LANES>(qkv, q, keys, values, position, cache_row, cos, sin, q_norm, k_norm,        \
                        queries, kv, dim, eps, planes, plane);                                      \
  }                                                                                                 \
  KERNEL NAME##_backward(const void *qkv, const hf *dq, const hf *dk, const hf *dv, hf *d_qkv,      \
                         const int *position, const float *cos, const float *sin,                   \
                         const float *q_norm, const float *k_norm, int queries, int kv, int dim,    \
                         float eps, int planes, u64 plane) {                                        \
    placed_heads_backward<LANES>(qkv, dq, dk, dv, d_qkv, position, cos, sin, q_norm, k_norm,        \
                                 queries, kv, dim, eps, planes, plane);                             \
  }
PLACE_HEADS(place_heads, 16)
PLACE_HEADS(place_wide_heads, 32)
