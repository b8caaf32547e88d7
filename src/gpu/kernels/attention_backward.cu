// The gradient of causal attention, in two kernels without atomic sums, so that its bits repeat:
// one a tile of queries for their gradient, one a tile of keys for that of keys and values.

// From a warp's sums of 16 rows, a half of each in two neighbouring lanes, to a thread's two rows.
DEVICE void own_rows(float half, float *mine) {
  int row = (threadIdx.x & 31) >> 2;
  float sum = half + __shfl_xor_sync(~0u, half, 1);
  mine[0] = __shfl_sync(~0u, sum, row * 2);
  mine[1] = __shfl_sync(~0u, sum, row * 2 + 16);
}

// The sums of d_out * out of this thread's two rows: each warp sums its own 16 rows, two lanes a row.
template <int D>
DEVICE void row_deltas(const hf *out, const hf *d_out, u64 stride, int rows, int dim, float *mine) {
  int lane = threadIdx.x & 31, row = (threadIdx.x >> 5) * 16 + (lane >> 1);
  // All loads are under way before the first is used.
  Eight a[D / 16], b[D / 16];
#pragma unroll
  for (int i = 0; i < D / 16; i++) {
    int c = (lane & 1) * 8 + i * 16;
    bool valid = row < rows && c < dim;
    a[i].v = valid ? *(const uint4 *)(out + row * stride + c) : make_uint4(0, 0, 0, 0);
    b[i].v = valid ? *(const uint4 *)(d_out + row * stride + c) : make_uint4(0, 0, 0, 0);
  }
  float d = 0.f;
#pragma unroll
  for (int i = 0; i < D / 16; i++)
    for (int j = 0; j < 8; j++) d += wide(a[i].h[j]) * wide(b[i].h[j]);
  own_rows(d, mine);
}

// Grid: (query heads, query tiles). Also writes delta, the sum of d_out * out of a row and head.
template <int D>
DEVICE void queries_tile(const hf *q, const hf *keys, const hf *values, const hf *out,
                         const hf *d_out, const float *lse, float *delta, hf *dq,
                         const int4 *tiles, int queries, int kv, int dim, float scale) {
  extern __shared__ __align__(1024) unsigned char room[];
  constexpr int BYTES = TILE * D * 2;
  u32 q_tile = shared_address(room), g_tile = q_tile + BYTES, k_tile = g_tile + BYTES,
      v_tile = k_tile + 2 * BYTES;
  int4 tile = tiles[blockIdx.y];
  int head = blockIdx.x, kv_head = head / (queries / kv);
  int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  u64 q_stride = (u64)queries * dim, kv_stride = (u64)kv * dim;
  u64 at = tile.x * q_stride + head * dim;
  const hf *k_from = keys + (u64)tile.w * kv_stride + kv_head * dim;
  const hf *v_from = values + (u64)tile.w * kv_stride + kv_head * dim;
  int seen = tile.z + tile.y, blocks = (seen + TILE - 1) / TILE;

  load_tile<D, TILE, 128>(q_tile, q + at, q_stride, tile.y, dim);
  load_tile<D, TILE, 128>(g_tile, d_out + at, q_stride, tile.y, dim);
  load_tile<D, TILE, 128>(k_tile, k_from, kv_stride, seen, dim);
  load_tile<D, TILE, 128>(v_tile, v_from, kv_stride, seen, dim);
  copy_commit();

  float mine[2], log_sum[2] = {0.f, 0.f};
  row_deltas<D>(out + at, d_out + at, q_stride, tile.y, dim, mine);
  for (int r = 0; r < 2; r++) {
    int row = warp * 16 + (lane >> 2) + r * 8;
    u64 place = (u64)(tile.x + row) * queries + head;
    if (row >= tile.y) continue;
    log_sum[r] = lse[place];
    if ((lane & 3) == 0) delta[place] = mine[r];
  }
  float grad[D / 8][4];
  for (int i = 0; i < D / 8; i++)
    for (int j = 0; j < 4; j++) grad[i][j] = 0.f;
  float to2 = scale * LOG2E;
  for (int b = 0; b < blocks; b++) {
    u32 k_now = k_tile + (b & 1) * BYTES, v_now = v_tile + (b & 1) * BYTES;
    copy_wait<0>();
    __syncthreads();
    if (b + 1 < blocks) {
      u64 next = (u64)(b + 1) * TILE;
      load_tile<D, TILE, 128>(k_tile + ((b + 1) & 1) * BYTES, k_from + next * kv_stride, kv_stride,
                              seen - next, dim);
      load_tile<D, TILE, 128>(v_tile + ((b + 1) & 1) * BYTES, v_from + next * kv_stride, kv_stride,
                              seen - next, dim);
    }
    copy_commit();
    float s[8][4], t[8][4];
    for (int i = 0; i < 8; i++)
      for (int j = 0; j < 4; j++) s[i][j] = t[i][j] = 0.f;
    int sees = tile.z + warp * 16 + 16 - b * TILE;
#pragma unroll
    for (int d = 0; d < D; d += 16) {
      u32 a[4], g[4];
      left<D>(a, q_tile, warp * 16, d);
      left<D>(g, g_tile, warp * 16, d);
#pragma unroll
      for (int n = 0; n < 4; n++) {
        if (n * 16 >= sees) continue;
        u32 k[4], v[4];
        right_rows<D>(k, k_now, n * 16, d);
        multiply_f16(s[2 * n], a, k[0], k[1]);
        multiply_f16(s[2 * n + 1], a, k[2], k[3]);
        right_rows<D>(v, v_now, n * 16, d);
        multiply(t[2 * n], g, v[0], v[1]);
        multiply(t[2 * n + 1], g, v[2], v[3]);
      }
    }
    int first = tile.z + warp * 16 + (lane >> 2);
    u32 p[8][2];
    for (int n = 0; n < 8; n++)
      for (int r = 0; r < 2; r++) {
        float d[2];
        for (int j = 0; j < 2; j++) {
          int key = b * TILE + n * 8 + (lane & 3) * 2 + j;
          float w = key > first + r * 8 ? 0.f : exp2_fast(s[n][2 * r + j] * to2 - log_sum[r]);
          d[j] = w * (t[n][2 * r + j] - mine[r]);
        }
        p[n][r] = pack(d[0], d[1]);
      }
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (k * 16 >= sees) continue;
      u32 a[4] = {p[2 * k][0], p[2 * k][1], p[2 * k + 1][0], p[2 * k + 1][1]};
#pragma unroll
      for (int d = 0; d < D; d += 16) {
        u32 b2[4];
        right_columns<D>(b2, k_now, k * 16, d);
        for (int j = 0; j < 4; j++) b2[j] = f16_to_half(b2[j]);
        multiply(grad[d / 8], a, b2[0], b2[1]);
        multiply(grad[d / 8 + 1], a, b2[2], b2[3]);
      }
    }
  }
  for (int r = 0; r < 2; r++) {
    int row = warp * 16 + (lane >> 2) + r * 8;
    if (row >= tile.y) continue;
    hf *to = dq + at + row * q_stride;
    for (int i = 0; i < D / 8; i++) {
      int column = i * 8 + (lane & 3) * 2;
      if (column < dim)
        *(u32 *)(to + column) = pack(grad[i][2 * r] * scale, grad[i][2 * r + 1] * scale);
    }
  }
}

// Grid: (query heads, key tiles). A key tile: first packed row of its sequence, rows of the
// sequence, position of its first key, first row of the sequence in keys and values. Gradients are
// those of one query head: the sum over a group follows.
template <int D>
DEVICE void keys_tile(const hf *q, const hf *keys, const hf *values, const hf *d_out,
                      const float *lse, const float *delta, hf *dk, hf *dv, const int4 *tiles,
                      int queries, int kv, int dim, float scale) {
  extern __shared__ __align__(1024) unsigned char room[];
  constexpr int BYTES = TILE * D * 2;
  u32 k_tile = shared_address(room), v_tile = k_tile + BYTES, q_tile = v_tile + BYTES,
      g_tile = q_tile + 2 * BYTES;
  float *sums = (float *)(room + 6 * BYTES), *deltas = sums + 2 * TILE;
  int4 tile = tiles[blockIdx.y];
  int head = blockIdx.x, kv_head = head / (queries / kv);
  int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  u64 q_stride = (u64)queries * dim, kv_stride = (u64)kv * dim;
  int rows = min(TILE, tile.y - tile.z);
  u64 k_at = (u64)(tile.w + tile.z) * kv_stride + kv_head * dim;
  load_tile<D, TILE, 128>(k_tile, keys + k_at, kv_stride, rows, dim);
  load_tile<D, TILE, 128>(v_tile, values + k_at, kv_stride, rows, dim);

  auto load = [&](int position, int which) {
    int left_rows = tile.y - position;
    u64 at = (u64)(tile.x + position) * q_stride + head * dim;
    load_tile<D, TILE, 128>(q_tile + which * BYTES, q + at, q_stride, left_rows, dim);
    load_tile<D, TILE, 128>(g_tile + which * BYTES, d_out + at, q_stride, left_rows, dim);
    if (threadIdx.x < TILE) {
      bool valid = (int)threadIdx.x < left_rows;
      u64 place = (u64)(tile.x + position + threadIdx.x) * queries + head;
      sums[which * TILE + threadIdx.x] = valid ? lse[place] : 0.f;
      deltas[which * TILE + threadIdx.x] = valid ? delta[place] : 0.f;
    }
    copy_commit();
  };
  float gk[D / 8][4], gv[D / 8][4];
  for (int i = 0; i < D / 8; i++)
    for (int j = 0; j < 4; j++) gk[i][j] = gv[i][j] = 0.f;
  float to2 = scale * LOG2E;
  load(tile.z, 0);
  int which = 0;
  for (int position = tile.z; position < tile.y; position += TILE, which ^= 1) {
    copy_wait<0>();
    __syncthreads();
    if (position + TILE < tile.y) load(position + TILE, which ^ 1);
    u32 q_now = q_tile + which * BYTES, g_now = g_tile + which * BYTES;
    for (int half = 0; half < 2; half++) {
      // None of these queries sees any of the warp's keys.
      if (position + half * 32 + 31 < tile.z + warp * 16) continue;
      // Scores with keys as rows and queries as columns.
      float s[4][4], t[4][4];
      for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++) s[i][j] = t[i][j] = 0.f;
#pragma unroll
      for (int d = 0; d < D; d += 16) {
        u32 a[4], v[4];
        left<D>(a, k_tile, warp * 16, d);
        left<D>(v, v_tile, warp * 16, d);
#pragma unroll
        for (int n = 0; n < 2; n++) {
          u32 b[4], g[4];
          right_rows<D>(b, q_now, half * 32 + n * 16, d);
          multiply_f16(s[2 * n], a, b[0], b[1]);
          multiply_f16(s[2 * n + 1], a, b[2], b[3]);
          right_rows<D>(g, g_now, half * 32 + n * 16, d);
          multiply(t[2 * n], v, g[0], g[1]);
          multiply(t[2 * n + 1], v, g[2], g[3]);
        }
      }
      u32 p[4][2], e[4][2];
      for (int n = 0; n < 4; n++)
        for (int r = 0; r < 2; r++) {
          float w[2], d[2];
          for (int j = 0; j < 2; j++) {
            int column = half * 32 + n * 8 + (lane & 3) * 2 + j;
            int key = tile.z + warp * 16 + (lane >> 2) + r * 8;
            bool sees = position + column >= key && position + column < tile.y;
            w[j] = sees ? exp2_fast(s[n][2 * r + j] * to2 - sums[which * TILE + column]) : 0.f;
            d[j] = w[j] * (t[n][2 * r + j] - deltas[which * TILE + column]);
          }
          p[n][r] = pack(w[0], w[1]);
          e[n][r] = pack(d[0], d[1]);
        }
#pragma unroll
      for (int k = 0; k < 2; k++) {
        u32 a[4] = {p[2 * k][0], p[2 * k][1], p[2 * k + 1][0], p[2 * k + 1][1]};
        u32 c[4] = {e[2 * k][0], e[2 * k][1], e[2 * k + 1][0], e[2 * k + 1][1]};
#pragma unroll
        for (int d = 0; d < D; d += 16) {
          u32 b[4];
          right_columns<D>(b, g_now, half * 32 + k * 16, d);
          multiply(gv[d / 8], a, b[0], b[1]);
          multiply(gv[d / 8 + 1], a, b[2], b[3]);
          right_columns<D>(b, q_now, half * 32 + k * 16, d);
          for (int j = 0; j < 4; j++) b[j] = f16_to_half(b[j]);
          multiply(gk[d / 8], c, b[0], b[1]);
          multiply(gk[d / 8 + 1], c, b[2], b[3]);
        }
      }
    }
  }
  for (int r = 0; r < 2; r++) {
    int row = warp * 16 + (lane >> 2) + r * 8;
    if (row >= rows) continue;
    u64 at = (u64)(tile.x + tile.z + row) * q_stride + head * dim;
    for (int i = 0; i < D / 8; i++) {
      int column = i * 8 + (lane & 3) * 2;
      if (column >= dim) continue;
      *(u32 *)(dk + at + column) = pack(gk[i][2 * r] * scale, gk[i][2 * r + 1] * scale);
      *(u32 *)(dv + at + column) = pack(gv[i][2 * r], gv[i][2 * r + 1]);
    }
  }
}

#define BACKWARD(D)                                                                                \
  KERNEL __launch_bounds__(128)                                                                    \
      attend_queries_##D(const hf *q, const hf *keys, const hf *values, const hf *out,             \
                         const hf *d_out, const float *lse, float *delta, hf *dq,                  \
                         const int4 *tiles, int queries, int kv, int dim, float scale) {           \
    queries_tile<D>(q, keys, values, out, d_out, lse, delta, dq, tiles, queries, kv, dim, scale);  \
  }                                                                                                \
  KERNEL __launch_bounds__(128)                                                                    \
      attend_keys_##D(const hf *q, const hf *keys, const hf *values, const hf *d_out,              \
                      const float *lse, const float *delta, hf *dk, hf *dv, const int4 *tiles,     \
                      int queries, int kv, int dim, float scale) {                                 \
    keys_tile<D>(q, keys, values, d_out, lse, delta, dk, dv, tiles, queries, kv, dim, scale);      \
  }
BACKWARD(64)
BACKWARD(128)
