// Causal attention and its gradient with Hopper's products of four warps: what attention.cu and
// attention_backward.cu do, tile for tile and in the same order of sums. A tile's block is one warp
// group; some blocks on a processor hide each other's loads and softmax.

#if WARP_GROUPS
// Bytes of 64 rows of 64 numbers, as the products want them.
#define PANEL (TILE * 128)

DEVICE u32 panel_at(u32 tile, int row, int chunk) {
  return tile + (chunk >> 3) * PANEL + row * 128 + (((chunk & 7) ^ (row & 7)) << 4);
}

// Copies `rows` rows of `dim` numbers, `stride` apart, into a tile; the rest is zeros.
template <int D>
DEVICE void load_panels(u32 tile, const hf *from, u64 stride, int rows, int dim) {
  // A thread has one column of chunks and every so many-th row.
  constexpr int CHUNKS = D / 8, STEP = 128 / CHUNKS;
  int r = threadIdx.x / CHUNKS, c = threadIdx.x % CHUNKS;
  bool inside = c * 8 < dim;
  const hf *at = from + r * stride + c * 8;
#pragma unroll
  for (int j = 0; j < TILE / STEP; j++, r += STEP) {
    bool valid = inside && r < rows;
    copy16(panel_at(tile, r, c), valid ? at + j * STEP * stride : from, valid);
  }
}

// A tile of half precision becomes one of the model's numbers, in place. All of it is read before
// the first is used.
template <int D> DEVICE void panels_to_half(u32 tile) {
#if !FLOAT16
  u32 v[D / 16][4], at = tile + threadIdx.x * 16;
#pragma unroll
  for (int i = 0; i < D / 16; i++)
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v[i][0]), "=r"(v[i][1]), "=r"(v[i][2]), "=r"(v[i][3])
                 : "r"(at + i * 2048)
                 : "memory");
#pragma unroll
  for (int i = 0; i < D / 16; i++)
    asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(at + i * 2048),
                 "r"(f16_to_half(v[i][0])), "r"(f16_to_half(v[i][1])), "r"(f16_to_half(v[i][2])),
                 "r"(f16_to_half(v[i][3]))
                 : "memory");
#endif
}

// Sums of products of this thread's two rows of two tiles: each warp sums its own 16 rows, two lanes
// a row.
template <int D>
DEVICE void panel_deltas(const unsigned char *x, const unsigned char *y, float *mine) {
  int lane = threadIdx.x & 31, row = (threadIdx.x >> 5) * 16 + (lane >> 1);
  float d = 0.f;
#pragma unroll
  for (int i = 0; i < D / 16; i++) {
    u32 at = panel_at(0, row, (lane & 1) + 2 * i);
    Eight a, b;
    a.v = *(const uint4 *)(x + at);
    b.v = *(const uint4 *)(y + at);
    for (int j = 0; j < 8; j++) d += wide(a.h[j]) * wide(b.h[j]);
  }
  own_rows(d, mine);
}

// c[64, 64] = a b^T over D columns, of half-precision operands or the model's.
template <int D, bool F16> DEVICE void rows_by_rows(float *c, u32 a, u32 b) {
#pragma unroll
  for (int d = 0; d < D; d += 16) {
    u64 x = describe(a + (d / 64) * PANEL) + (d % 64) / 8;
    u64 y = describe(b + (d / 64) * PANEL) + (d % 64) / 8;
    if (F16)
      d ? Group<64>::multiply_f16(c, x, y) : Group<64>::multiply_f16<0>(c, x, y);
    else
      d ? Group<64>::multiply(c, x, y) : Group<64>::multiply<0>(c, x, y);
  }
}
// c[64, D] += a b, with the 64 columns of a in registers, a quarter of them in four.
template <int D> DEVICE void registers_by_rows(float *c, const u32 *a, u32 b) {
#pragma unroll
  for (int k = 0; k < 4; k++)
    Group<D>::multiply_turned(c, a + 4 * k, describe_turned(b + k * 16 * 128, PANEL));
}

// Keeps the compiler from moving sums while products that add to them are under way.
template <int N> DEVICE void hold(float (&c)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(c[i])::"memory");
}
template <int N> DEVICE void clear(float (&c)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) c[i] = 0.f;
}

// Sums go to rows of `dim` numbers, by way of a tile that is free by now.
template <int D>
DEVICE void store_panels(unsigned char *tile, hf *to, u64 stride, int rows, int dim,
                         const float *c, float scale_0, float scale_1) {
  int lane = threadIdx.x & 31;
  u32 base = shared_address(tile);
#pragma unroll
  for (int i = 0; i < D / 2; i += 2) {
    int r = (i >> 1) & 1, row = (threadIdx.x >> 5) * 16 + (lane >> 2) + r * 8;
    float scale = r ? scale_1 : scale_0;
    u32 at = panel_at(base, row, i >> 2) + (lane & 3) * 4;
    set_shared_word(at, pack(c[i] * scale, c[i + 1] * scale));
  }
  __syncthreads();
  constexpr int CHUNKS = D / 8, STEP = 128 / CHUNKS;
  int r = threadIdx.x / CHUNKS, column = threadIdx.x % CHUNKS;
  if (column * 8 >= dim) return;
#pragma unroll
  for (int j = 0; j < TILE / STEP; j++, r += STEP)
    if (r < rows)
      *(uint4 *)(to + r * stride + column * 8) =
          *(const uint4 *)(tile + (panel_at(base, r, column) - base));
}

template <int D>
DEVICE void attend_group(const hf *q, const hf *keys, const hf *values, hf *out, float *lse,
                         const int4 *tiles, int queries, int kv, int dim, float scale) {
  extern __shared__ __align__(1024) unsigned char room[];
  constexpr int BYTES = TILE * D * 2;
  u32 q_tile = shared_address(room), ring = q_tile + BYTES;
  int4 tile = tiles[blockIdx.y];
  int head = blockIdx.x, kv_head = head / (queries / kv);
  int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  u64 q_stride = (u64)queries * dim, kv_stride = (u64)kv * dim;
  u64 kv_at = (u64)tile.w * kv_stride + kv_head * dim;
  int seen = tile.z + tile.y, blocks = (seen + TILE - 1) / TILE;

  // Keys and values of the blocks in turn go through a ring of three tiles: each has the time of a
  // whole block to arrive.
  auto load = [&](int item) {
    int b = item >> 1;
    if (b < blocks)
      load_panels<D>(ring + item % 3 * BYTES,
                     (item & 1 ? values : keys) + kv_at + (u64)b * TILE * kv_stride, kv_stride,
                     seen - b * TILE, dim);
    copy_commit();
  };
  load_panels<D>(q_tile, q + tile.x * q_stride + head * dim, q_stride, tile.y, dim);
  load(0);
  load(1);
  float mixed[D / 2], top[2] = {-3e38f, -3e38f}, sum[2] = {0.f, 0.f};
  clear(mixed);
  float to2 = scale * LOG2E;
  for (int b = 0; b < blocks; b++) {
    copy_wait<1>();
    show_products();
    __syncthreads();
    // The values of the block before are used.
    load(2 * b + 2);
    float s[32];
    products_begin();
    rows_by_rows<D, true>(s, q_tile, ring + 2 * b % 3 * BYTES);
    products_commit();
    products_wait<0>();
    __syncthreads();
    load(2 * b + 3);
    if ((b + 1) * TILE > tile.z) {
      int first = tile.z + warp * 16 + (lane >> 2) - b * TILE;
#pragma unroll
      for (int i = 0; i < 32; i++)
        if ((i >> 2) * 8 + (lane & 3) * 2 + (i & 1) > first + ((i >> 1) & 1) * 8) s[i] = -3e38f;
    }
    u32 p[16];
#pragma unroll
    for (int r = 0; r < 2; r++) {
      float m = top[r];
#pragma unroll
      for (int n = 0; n < 8; n++) m = fmaxf(m, fmaxf(s[n * 4 + 2 * r], s[n * 4 + 2 * r + 1]));
      m = fmaxf(m, __shfl_xor_sync(~0u, m, 1));
      m = fmaxf(m, __shfl_xor_sync(~0u, m, 2));
      float shrink = exp2_fast((top[r] - m) * to2), add = 0.f, less = m * to2;
      top[r] = m;
#pragma unroll
      for (int n = 0; n < 8; n++) {
        float x = exp2_fast(s[n * 4 + 2 * r] * to2 - less);
        float y = exp2_fast(s[n * 4 + 2 * r + 1] * to2 - less);
        add += x + y;
        p[n * 2 + r] = pack(x, y);
      }
      sum[r] = sum[r] * shrink + add;
#pragma unroll
      for (int i = 0; i < D / 8; i++) {
        mixed[i * 4 + 2 * r] *= shrink;
        mixed[i * 4 + 2 * r + 1] *= shrink;
      }
    }
    copy_wait<2>();
    show_products();
    __syncthreads();
    products_begin();
    registers_by_rows<D>(mixed, p, ring + (2 * b + 1) % 3 * BYTES);
    products_commit();
    products_wait<0>();
  }
  __syncthreads();
  float inverse[2];
#pragma unroll
  for (int r = 0; r < 2; r++) {
    float total = sum[r];
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    inverse[r] = 1.f / total;
    int row = warp * 16 + (lane >> 2) + r * 8;
    if (lse && (lane & 3) == 0 && row < tile.y)
      lse[(u64)(tile.x + row) * queries + head] = top[r] * to2 + __log2f(total);
  }
  store_panels<D>(room, out + tile.x * q_stride + head * dim, q_stride, tile.y, dim, mixed,
                  inverse[0], inverse[1]);
}

template <int D>
DEVICE void queries_group(const hf *q, const hf *keys, const hf *values, const hf *out,
                          const hf *d_out, const float *lse, float *delta, hf *dq,
                          const int4 *tiles, int queries, int kv, int dim, float scale) {
  extern __shared__ __align__(1024) unsigned char room[];
  constexpr int BYTES = TILE * D * 2;
  u32 q_tile = shared_address(room), g_tile = q_tile + BYTES, kv_tiles = g_tile + BYTES;
  int4 tile = tiles[blockIdx.y];
  int head = blockIdx.x, kv_head = head / (queries / kv);
  int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  u64 q_stride = (u64)queries * dim, kv_stride = (u64)kv * dim;
  u64 at = tile.x * q_stride + head * dim;
  u64 kv_at = (u64)tile.w * kv_stride + kv_head * dim;
  int seen = tile.z + tile.y, blocks = (seen + TILE - 1) / TILE;

  auto load = [&](int b) {
    u32 to = kv_tiles + (b & 1) * 2 * BYTES;
    u64 from = kv_at + (u64)b * TILE * kv_stride;
    load_panels<D>(to, keys + from, kv_stride, seen - b * TILE, dim);
    load_panels<D>(to + BYTES, values + from, kv_stride, seen - b * TILE, dim);
    copy_commit();
  };
  load_panels<D>(q_tile, q + at, q_stride, tile.y, dim);
  load_panels<D>(g_tile, d_out + at, q_stride, tile.y, dim);
  // The result, where the next keys will be.
  load_panels<D>(kv_tiles + 2 * BYTES, out + at, q_stride, tile.y, dim);
  load(0);
  float mine[2], log_sum[2] = {0.f, 0.f};
  u64 place = (u64)(tile.x + warp * 16 + (lane >> 2)) * queries + head;
  for (int r = 0; r < 2; r++)
    if (warp * 16 + (lane >> 2) + r * 8 < tile.y) log_sum[r] = lse[place + r * 8 * queries];
  copy_wait<0>();
  __syncthreads();
  panel_deltas<D>(room + 4 * BYTES, room + BYTES, mine);
  for (int r = 0; r < 2; r++)
    if (warp * 16 + (lane >> 2) + r * 8 < tile.y && (lane & 3) == 0)
      delta[place + r * 8 * queries] = mine[r];
  float grad[D / 2];
  clear(grad);
  float to2 = scale * LOG2E;
  for (int b = 0; b < blocks; b++) {
    copy_wait<0>();
    show_products();
    __syncthreads();
    if (b + 1 < blocks) load(b + 1);
    int which = (b & 1) * 2;
    u32 k_tile = kv_tiles + which * BYTES, v_tile = k_tile + BYTES;
    float s[32], t[32];
    products_begin();
    rows_by_rows<D, true>(s, q_tile, k_tile);
    products_commit();
    rows_by_rows<D, false>(t, g_tile, v_tile);
    products_commit();
    products_wait<1>();
    hold(s);
    __syncthreads();
    panels_to_half<D>(k_tile);
    bool edge = (b + 1) * TILE > tile.z;
    int first = tile.z + warp * 16 + (lane >> 2) - b * TILE;
    float w[32];
#pragma unroll
    for (int i = 0; i < 32; i++) {
      int r = (i >> 1) & 1;
      w[i] = exp2_fast(s[i] * to2 - log_sum[r]);
      if (edge && (i >> 2) * 8 + (lane & 3) * 2 + (i & 1) > first + r * 8) w[i] = 0.f;
    }
    products_wait<0>();
    hold(t);
    u32 p[16];
#pragma unroll
    for (int i = 0; i < 16; i++) {
      float less = mine[i & 1];
      p[i] = pack(w[2 * i] * (t[2 * i] - less), w[2 * i + 1] * (t[2 * i + 1] - less));
    }
    show_products();
    __syncthreads();
    hold(grad);
    products_begin();
    registers_by_rows<D>(grad, p, k_tile);
    products_commit();
    products_wait<0>();
    hold(grad);
  }
  __syncthreads();
  store_panels<D>(room, dq + at, q_stride, tile.y, dim, grad, scale, scale);
}

template <int D>
DEVICE void keys_group(const hf *q, const hf *keys, const hf *values, const hf *d_out,
                       const float *lse, const float *delta, hf *dk, hf *dv, const int4 *tiles,
                       int queries, int kv, int dim, float scale) {
  extern __shared__ __align__(1024) unsigned char room[];
  constexpr int BYTES = TILE * D * 2;
  u32 k_tile = shared_address(room), v_tile = k_tile + BYTES, q_tile = v_tile + BYTES,
      g_tile = q_tile + 2 * BYTES;
  u32 statistics = g_tile + 2 * BYTES;
  const float *sums = (const float *)(room + 6 * BYTES), *deltas = sums + 2 * TILE;
  int4 tile = tiles[blockIdx.y];
  int head = blockIdx.x, kv_head = head / (queries / kv);
  int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  u64 q_stride = (u64)queries * dim, kv_stride = (u64)kv * dim;
  int rows = min(TILE, tile.y - tile.z);
  u64 k_at = (u64)(tile.w + tile.z) * kv_stride + kv_head * dim;
  load_panels<D>(k_tile, keys + k_at, kv_stride, rows, dim);
  load_panels<D>(v_tile, values + k_at, kv_stride, rows, dim);

  auto load = [&](int position, int which) {
    int left_rows = tile.y - position;
    u64 at = (u64)(tile.x + position) * q_stride + head * dim;
    load_panels<D>(q_tile + which * BYTES, q + at, q_stride, left_rows, dim);
    load_panels<D>(g_tile + which * BYTES, d_out + at, q_stride, left_rows, dim);
    int row = threadIdx.x % TILE;
    bool valid = row < left_rows;
    u64 place = valid ? (u64)(tile.x + position + row) * queries + head : 0;
    copy4(statistics + ((threadIdx.x / TILE * 2 + which) * TILE + row) * 4,
          (threadIdx.x < TILE ? lse : delta) + place, valid);
    copy_commit();
  };
  float gk[D / 2], gv[D / 2];
  clear(gk);
  clear(gv);
  float to2 = scale * LOG2E;
  load(tile.z, 0);
  int which = 0;
  for (int position = tile.z; position < tile.y; position += TILE, which ^= 1) {
    copy_wait<0>();
    show_products();
    __syncthreads();
    if (position + TILE < tile.y) load(position + TILE, which ^ 1);
    u32 q_now = q_tile + which * BYTES, g_now = g_tile + which * BYTES;
    // Scores with keys as rows and queries as columns.
    float s[32], t[32];
    products_begin();
    rows_by_rows<D, true>(s, k_tile, q_now);
    products_commit();
    rows_by_rows<D, false>(t, v_tile, g_now);
    products_commit();
    float2 sum[8], less[8];
#pragma unroll
    for (int n = 0; n < 8; n++)
      sum[n] = *(const float2 *)(sums + which * TILE + n * 8 + (lane & 3) * 2);
    products_wait<1>();
    hold(s);
    __syncthreads();
    panels_to_half<D>(q_now);
    bool edge = position == tile.z || position + TILE > tile.y;
    int key = tile.z - position + warp * 16 + (lane >> 2), end = tile.y - position;
    float w[32];
    u32 p[16];
#pragma unroll
    for (int n = 0; n < 8; n++) {
      int column = n * 8 + (lane & 3) * 2;
#pragma unroll
      for (int r = 0; r < 2; r++) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
          int i = n * 4 + 2 * r + j;
          w[i] = exp2_fast(s[i] * to2 - (j ? sum[n].y : sum[n].x));
          if (edge && (column + j < key + r * 8 || column + j >= end)) w[i] = 0.f;
        }
        p[n * 2 + r] = pack(w[n * 4 + 2 * r], w[n * 4 + 2 * r + 1]);
      }
    }
    hold(gv);
    products_begin();
    registers_by_rows<D>(gv, p, g_now);
    products_commit();
#pragma unroll
    for (int n = 0; n < 8; n++)
      less[n] = *(const float2 *)(deltas + which * TILE + n * 8 + (lane & 3) * 2);
    products_wait<1>();
    hold(t);
    u32 e[16];
#pragma unroll
    for (int n = 0; n < 8; n++) {
#pragma unroll
      for (int r = 0; r < 2; r++) {
        int i = n * 4 + 2 * r;
        e[n * 2 + r] = pack(w[i] * (t[i] - less[n].x), w[i + 1] * (t[i + 1] - less[n].y));
      }
    }
    show_products();
    __syncthreads();
    hold(gk);
    products_begin();
    registers_by_rows<D>(gk, e, q_now);
    products_commit();
    products_wait<0>();
    hold(gk);
    hold(gv);
  }
  __syncthreads();
  u64 at = (u64)(tile.x + tile.z) * q_stride + head * dim;
  store_panels<D>(room, dk + at, q_stride, rows, dim, gk, scale, scale);
  store_panels<D>(room + BYTES, dv + at, q_stride, rows, dim, gv, 1.f, 1.f);
}
#else
template <int D>
DEVICE void attend_group(const hf *, const hf *, const hf *, hf *, float *, const int4 *, int, int,
                         int, float) {}
template <int D>
DEVICE void queries_group(const hf *, const hf *, const hf *, const hf *, const hf *,
                          const float *, float *, hf *, const int4 *, int, int, int, float) {}
template <int D>
DEVICE void keys_group(const hf *, const hf *, const hf *, const hf *, const float *,
                       const float *, hf *, hf *, const int4 *, int, int, int, float) {}
#endif

#define ATTEND_GROUP(D)                                                                            \
  KERNEL __launch_bounds__(128, D == 64 ? 4 : 3)                                                   \
      attend_group_##D(const hf *q, const hf *keys, const hf *values, hf *out, float *lse,         \
                       const int4 *tiles, int queries, int kv, int dim, float scale) {             \
    attend_group<D>(q, keys, values, out, lse, tiles, queries, kv, dim, scale);                    \
  }                                                                                                \
  KERNEL __launch_bounds__(128, 2)                                                                 \
      attend_queries_group_##D(const hf *q, const hf *keys, const hf *values, const hf *out,       \
                               const hf *d_out, const float *lse, float *delta, hf *dq,            \
                               const int4 *tiles, int queries, int kv, int dim, float scale) {     \
    queries_group<D>(q, keys, values, out, d_out, lse, delta, dq, tiles, queries, kv, dim, scale); \
  }                                                                                                \
  KERNEL __launch_bounds__(128, 2)                                                                 \
      attend_keys_group_##D(const hf *q, const hf *keys, const hf *values, const hf *d_out,        \
                            const float *lse, const float *delta, hf *dk, hf *dv,                  \
                            const int4 *tiles, int queries, int kv, int dim, float scale) {        \
    keys_group<D>(q, keys, values, d_out, lse, delta, dk, dv, tiles, queries, kv, dim, scale);     \
  }
ATTEND_GROUP(64)
ATTEND_GROUP(128)
