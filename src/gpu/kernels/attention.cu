// Causal grouped-query attention in tiles (Dao 2023, FlashAttention-2), forward.
//
// A query row goes through its sequence's keys from the first on in blocks of 64, so its bits
// depend neither on the chunk that it came in nor on other rows: a block of which it sees nothing
// leaves its sums as they are.

#define TILE 64
#define LOG2E 1.4426950408889634f

// Where 16 bytes of a tile in shared memory are: chunks of a row are exchanged by the row's place
// among eight, so that eight rows of one column lie in different banks.
template <int D> DEVICE u32 chunk_at(u32 base, int row, int chunk) {
  return base + row * (D * 2) + ((chunk ^ (row & 7)) << 4);
}

// Copies `rows` rows of `dim` numbers, `stride` apart, into a tile; the rest is zeros.
template <int D, int ROWS, int THREADS>
DEVICE void load_tile(u32 tile, const hf *from, u64 stride, int rows, int dim) {
  constexpr int CHUNKS = D / 8;
  for (int i = threadIdx.x; i < ROWS * CHUNKS; i += THREADS) {
    int r = i / CHUNKS, c = i % CHUNKS;
    bool valid = r < rows && c * 8 < dim;
    copy16(chunk_at<D>(tile, r, c), valid ? from + r * stride + c * 8 : from, valid);
  }
}

// The 16x16 block (row, column) of a tile as the left operand.
template <int D> DEVICE void left(u32 *a, u32 tile, int row, int column) {
  int lane = threadIdx.x & 31;
  load4(a, chunk_at<D>(tile, row + (lane & 15), column / 8 + (lane >> 4)));
}
// Two 8-column right operands whose columns are rows `row`.. of the tile, over 16 of its columns.
template <int D> DEVICE void right_rows(u32 *b, u32 tile, int row, int column) {
  int lane = threadIdx.x & 31;
  load4(b, chunk_at<D>(tile, row + (lane & 7) + ((lane >> 4) << 3), column / 8 + ((lane >> 3) & 1)));
}
// Two 8-column right operands whose columns are columns of the tile, over 16 of its rows.
template <int D> DEVICE void right_columns(u32 *b, u32 tile, int row, int column) {
  int lane = threadIdx.x & 31;
  load4_turned(b, chunk_at<D>(tile, row + (lane & 15), column / 8 + (lane >> 4)));
}

// Grid: (query heads, tiles). A tile: first row, rows, position of the first row, first row of its
// sequence in keys and values. `lse` gets the logarithm to base 2 of the scaled scores' sum.
template <int D>
DEVICE void attend_tile(const hf *q, const hf *keys, const hf *values, hf *out, float *lse,
                        const int4 *tiles, int queries, int kv, int dim, float scale) {
  extern __shared__ __align__(1024) unsigned char room[];
  constexpr int BYTES = TILE * D * 2;
  u32 q_tile = shared_address(room), k_tile = q_tile + BYTES, v_tile = k_tile + 2 * BYTES;
  int4 tile = tiles[blockIdx.y];
  int head = blockIdx.x, kv_head = head / (queries / kv);
  int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  u64 q_stride = (u64)queries * dim, kv_stride = (u64)kv * dim;
  const hf *k_from = keys + (u64)tile.w * kv_stride + kv_head * dim;
  const hf *v_from = values + (u64)tile.w * kv_stride + kv_head * dim;
  int seen = tile.z + tile.y, blocks = (seen + TILE - 1) / TILE;

  load_tile<D, TILE, 128>(q_tile, q + tile.x * q_stride + head * dim, q_stride, tile.y, dim);
  load_tile<D, TILE, 128>(k_tile, k_from, kv_stride, seen, dim);
  copy_commit();
  load_tile<D, TILE, 128>(v_tile, v_from, kv_stride, seen, dim);
  copy_commit();

  float mixed[D / 8][4], top[2] = {-3e38f, -3e38f}, sum[2] = {0.f, 0.f};
  for (int i = 0; i < D / 8; i++)
    for (int j = 0; j < 4; j++) mixed[i][j] = 0.f;
  float to2 = scale * LOG2E;
  for (int b = 0; b < blocks; b++) {
    u32 k_now = k_tile + (b & 1) * BYTES, v_now = v_tile + (b & 1) * BYTES;
    copy_wait<1>();
    __syncthreads();
    if (b + 1 < blocks) {
      u64 next = (u64)(b + 1) * TILE;
      load_tile<D, TILE, 128>(k_tile + ((b + 1) & 1) * BYTES, k_from + next * kv_stride, kv_stride,
                              seen - next, dim);
    }
    copy_commit();
    float s[8][4];
    for (int i = 0; i < 8; i++)
      for (int j = 0; j < 4; j++) s[i][j] = 0.f;
    // Keys of this block that the warp's last row sees: the others are not multiplied.
    int sees = tile.z + warp * 16 + 16 - b * TILE;
#pragma unroll
    for (int d = 0; d < D; d += 16) {
      u32 a[4];
      left<D>(a, q_tile, warp * 16, d);
#pragma unroll
      for (int n = 0; n < 4; n++) {
        if (n * 16 >= sees) continue;
        u32 k[4];
        right_rows<D>(k, k_now, n * 16, d);
        multiply_f16(s[2 * n], a, k[0], k[1]);
        multiply_f16(s[2 * n + 1], a, k[2], k[3]);
      }
    }
    int first = tile.z + warp * 16 + (lane >> 2);
    if ((b + 1) * TILE > tile.z + warp * 16) {
      for (int n = 0; n < 8; n++)
        for (int j = 0; j < 4; j++) {
          int key = b * TILE + n * 8 + (lane & 3) * 2 + (j & 1);
          if (key > first + (j >> 1) * 8) s[n][j] = -3e38f;
        }
    }
    u32 p[8][2];
    for (int r = 0; r < 2; r++) {
      float m = top[r];
      for (int n = 0; n < 8; n++) m = fmaxf(m, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
      m = fmaxf(m, __shfl_xor_sync(~0u, m, 1));
      m = fmaxf(m, __shfl_xor_sync(~0u, m, 2));
      float shrink = exp2_fast((top[r] - m) * to2), add = 0.f;
      top[r] = m;
      for (int n = 0; n < 8; n++) {
        float x = s[n][2 * r] <= -1e38f ? 0.f : exp2_fast((s[n][2 * r] - m) * to2);
        float y = s[n][2 * r + 1] <= -1e38f ? 0.f : exp2_fast((s[n][2 * r + 1] - m) * to2);
        add += x + y;
        p[n][r] = pack(x, y);
      }
      sum[r] = sum[r] * shrink + add;
      for (int i = 0; i < D / 8; i++) {
        mixed[i][2 * r] *= shrink;
        mixed[i][2 * r + 1] *= shrink;
      }
    }
    copy_wait<1>();
    __syncthreads();
    if (b + 1 < blocks) {
      u64 next = (u64)(b + 1) * TILE;
      load_tile<D, TILE, 128>(v_tile + ((b + 1) & 1) * BYTES, v_from + next * kv_stride, kv_stride,
                              seen - next, dim);
    }
    copy_commit();
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (k * 16 >= sees) continue;
      u32 a[4] = {p[2 * k][0], p[2 * k][1], p[2 * k + 1][0], p[2 * k + 1][1]};
#pragma unroll
      for (int d = 0; d < D; d += 16) {
        u32 v[4];
        right_columns<D>(v, v_now, k * 16, d);
        multiply(mixed[d / 8], a, v[0], v[1]);
        multiply(mixed[d / 8 + 1], a, v[2], v[3]);
      }
    }
  }
  for (int r = 0; r < 2; r++) {
    float total = sum[r];
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    int row = warp * 16 + (lane >> 2) + r * 8;
    if (row >= tile.y) continue;
    float inverse = 1.f / total;
    hf *to = out + (tile.x + row) * q_stride + head * dim;
    for (int i = 0; i < D / 8; i++) {
      int column = i * 8 + (lane & 3) * 2;
      if (column < dim)
        *(u32 *)(to + column) = pack(mixed[i][2 * r] * inverse, mixed[i][2 * r + 1] * inverse);
    }
    if (lse && (lane & 3) == 0)
      lse[(u64)(tile.x + row) * queries + head] = top[r] * to2 + __log2f(total);
  }
}

#define ATTEND(D)                                                                                  \
  KERNEL __launch_bounds__(128) attend_##D(const hf *q, const hf *keys, const hf *values, hf *out, \
                                           float *lse, const int4 *tiles, int queries, int kv,     \
                                           int dim, float scale) {                                 \
    attend_tile<D>(q, keys, values, out, lse, tiles, queries, kv, dim, scale);                     \
  }
ATTEND(64)
ATTEND(128)

// One token of each row against its live keys: grid (rows, key heads, splits of SPLIT keys). All
// query heads of a key head are the rows of one tile; four warps share the keys.
#define SPLIT 512
// Keys that a warp takes at a time: few, so that many blocks fit a processor.
#define KEYS 16

template <int D>
DEVICE void attend_one(const hf *q, const hf *keys, const hf *values, hf *out, float *parts,
                       const int *position, const int *cache_base, int queries, int kv, int dim,
                       float scale) {
  extern __shared__ __align__(1024) unsigned char room[];
  constexpr int BYTES = KEYS * D * 2;
  int row = blockIdx.x, kv_head = blockIdx.y, group = queries / kv;
  int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  take_turn();
  int base = cache_base[row], live = base < 0 ? 0 : position[row] + 1;
  int start = blockIdx.z * SPLIT, end = min(live, start + SPLIT);
  if (start > 0 && start >= live) return;
  u64 stride = (u64)kv * dim;
  const hf *k_from = keys + (u64)max(base, 0) * stride + kv_head * dim;
  const hf *v_from = values + (u64)max(base, 0) * stride + kv_head * dim;
  const hf *mine = q + ((u64)row * queries + kv_head * group) * dim;
  u32 k_tile = shared_address(room) + warp * 2 * BYTES, v_tile = k_tile + BYTES;

  auto load = [&](int key) {
    for (int kind = 0; kind < 2; kind++) {
      const hf *from = (kind ? v_from : k_from) + key * stride;
#pragma unroll
      for (int i = lane; i < KEYS * D / 8; i += 32) {
        int r = i / (D / 8), c = i % (D / 8);
        bool valid = r < end - key && c * 8 < dim;
        copy16(chunk_at<D>(kind ? v_tile : k_tile, r, c), valid ? from + r * stride + c * 8 : from, valid);
      }
      copy_commit();
    }
  };
  // Keys and values are on their way while the queries are read.
  if (start + warp * KEYS < end) load(start + warp * KEYS);
  u32 a[D / 16][4];
  for (int d = 0; d < D / 16; d++)
    for (int j = 0; j < 4; j++) {
      int head = (lane >> 2) + (j & 1) * 8, column = d * 16 + (lane & 3) * 2 + (j >> 1) * 8;
      a[d][j] = head < group && column < dim ? *(const u32 *)(mine + head * dim + column) : 0u;
    }
  float mixed[D / 8][4], top[2] = {-3e38f, -3e38f}, sum[2] = {0.f, 0.f};
  for (int i = 0; i < D / 8; i++)
    for (int j = 0; j < 4; j++) mixed[i][j] = 0.f;
  float to2 = scale * LOG2E;
  for (int key = start + warp * KEYS; key < end; key += 4 * KEYS) {
    int rows = end - key;
    if (key > start + warp * KEYS) load(key);
    copy_wait<1>();
    __syncwarp();
    float s[2][4];
    for (int i = 0; i < 2; i++)
      for (int j = 0; j < 4; j++) s[i][j] = 0.f;
#pragma unroll
    for (int d = 0; d < D; d += 16) {
      u32 k[4];
      right_rows<D>(k, k_tile, 0, d);
      multiply_f16(s[0], a[d / 16], k[0], k[1]);
      multiply_f16(s[1], a[d / 16], k[2], k[3]);
    }
    u32 p[2][2];
    for (int r = 0; r < 2; r++) {
      float m = top[r];
      for (int n = 0; n < 2; n++)
        for (int j = 0; j < 2; j++) {
          if (n * 8 + (lane & 3) * 2 + j >= rows) s[n][2 * r + j] = -3e38f;
          m = fmaxf(m, s[n][2 * r + j]);
        }
      m = fmaxf(m, __shfl_xor_sync(~0u, m, 1));
      m = fmaxf(m, __shfl_xor_sync(~0u, m, 2));
      float shrink = exp2_fast((top[r] - m) * to2), add = 0.f;
      top[r] = m;
      for (int n = 0; n < 2; n++) {
        float x = s[n][2 * r] <= -1e38f ? 0.f : exp2_fast((s[n][2 * r] - m) * to2);
        float y = s[n][2 * r + 1] <= -1e38f ? 0.f : exp2_fast((s[n][2 * r + 1] - m) * to2);
        add += x + y;
        p[n][r] = pack(x, y);
      }
      sum[r] = sum[r] * shrink + add;
      for (int i = 0; i < D / 8; i++) {
        mixed[i][2 * r] *= shrink;
        mixed[i][2 * r + 1] *= shrink;
      }
    }
    copy_wait<0>();
    __syncwarp();
    u32 w[4] = {p[0][0], p[0][1], p[1][0], p[1][1]};
#pragma unroll
    for (int d = 0; d < D; d += 16) {
      u32 v[4];
      right_columns<D>(v, v_tile, 0, d);
      multiply(mixed[d / 8], w, v[0], v[1]);
      multiply(mixed[d / 8 + 1], w, v[2], v[3]);
    }
    __syncwarp();
  }
  // The four warps' sums become one.
  __syncthreads();
  float *tops = (float *)room, *sums = tops + 64, *all = sums + 64;
  for (int r = 0; r < 2; r++) {
    float total = sum[r];
    total += __shfl_xor_sync(~0u, total, 1);
    total += __shfl_xor_sync(~0u, total, 2);
    int head = (lane >> 2) + r * 8;
    if ((lane & 3) == 0) {
      tops[warp * 16 + head] = top[r];
      sums[warp * 16 + head] = total;
    }
    for (int i = 0; i < D / 8; i++)
      for (int j = 0; j < 2; j++)
        all[(warp * 16 + head) * D + i * 8 + (lane & 3) * 2 + j] = mixed[i][2 * r + j];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < group * D; i += 128) {
    int head = i / D, column = i % D;
    if (column >= dim) continue;
    float m = fmaxf(fmaxf(tops[head], tops[16 + head]), fmaxf(tops[32 + head], tops[48 + head]));
    float total = 0.f, x = 0.f;
    for (int w = 0; w < 4; w++) {
      float share = exp2_fast((tops[w * 16 + head] - m) * to2);
      if (sums[w * 16 + head] == 0.f) continue;
      total += sums[w * 16 + head] * share;
      x += all[(w * 16 + head) * D + column] * share;
    }
    u64 place = (u64)row * queries + kv_head * group + head;
    if (gridDim.z == 1) {
      out[place * dim + column] = narrow(total > 0.f ? x / total : 0.f);
    } else {
      float *part = parts + (place * gridDim.z + blockIdx.z) * (D + 2);
      part[column] = x;
      if (column == 0) {
        part[D] = m * to2;
        part[D + 1] = total;
      }
    }
  }
}

#define ATTEND_ONE(D)                                                                             \
  KERNEL __launch_bounds__(128, 4)                                                                \
      attend_one_##D(const hf *q, const hf *keys, const hf *values, hf *out, float *parts,        \
                     const int *position, const int *cache_base, int queries, int kv, int dim,    \
                     float scale) {                                                               \
    attend_one<D>(q, keys, values, out, parts, position, cache_base, queries, kv, dim, scale);    \
  }
ATTEND_ONE(64)
ATTEND_ONE(128)

// Joins the splits of attend_one: grid (rows, query heads).
KERNEL attend_join(const float *parts, hf *out, const int *position, const int *cache_base,
                   int queries, int dim, int wide_dim, int splits) {
  take_turn();
  int row = blockIdx.x, head = blockIdx.y;
  int live = cache_base[row] < 0 ? 0 : position[row] + 1, used = (live + SPLIT - 1) / SPLIT;
  u64 place = (u64)row * queries + head;
  const float *mine = parts + place * splits * (wide_dim + 2);
  float m = -3e38f;
  for (int s = 0; s < used; s++) m = fmaxf(m, mine[s * (wide_dim + 2) + wide_dim]);
  for (int column = threadIdx.x; column < dim; column += blockDim.x) {
    float x = 0.f, total = 0.f;
    for (int s = 0; s < used; s++) {
      const float *part = mine + s * (wide_dim + 2);
      float share = exp2_fast(part[wide_dim] - m);
      total += part[wide_dim + 1] * share;
      x += part[column] * share;
    }
    out[place * dim + column] = narrow(total > 0.f ? x / total : 0.f);
  }
}
