// The product with queries, keys, and values, on Hopper: bias, a low-rank product `t b` (further
// numbers of the inner dimension), and the rotation are in it, and heads go where attention reads
// them. Tiles and slots are those of the ring.

// Where the heads of a row go, and what they are rotated with.
struct Heads {
  hf *q, *keys, *values;
  const int *position, *cache_row;
  const float *cos, *sin;
  int queries, kv;
};

#if WARP_GROUPS
// Two neighbours of a head's lower half and the two that they are rotated with.
struct Turned {
  float2 low, high;
  DEVICE void add(const float *bias, int half) {
    float2 a = *(const float2 *)bias, b = *(const float2 *)(bias + half);
    low.x += a.x, low.y += a.y, high.x += b.x, high.y += b.y;
  }
  DEVICE void turn(float2 c, float2 s) {
    float2 a = low, b = high;
    low = make_float2(a.x * c.x - b.x * s.x, a.y * c.y - b.y * s.y);
    high = make_float2(b.x * c.x + a.x * s.x, b.y * c.y + a.y * s.y);
  }
};

// A tile's heads of D numbers, of the row in c that is `r` times eight further than the thread's.
template <int D>
DEVICE void place_row(const float *c, int r, u64 row, bool in, int first, const float *bias,
                      const Heads &heads) {
  constexpr int HALF = D / 2;
  int quad = threadIdx.x & 3, total = heads.queries + 2 * heads.kv;
  u64 to = in ? heads.cache_row[row] : 0, table = in ? (u64)heads.position[row] * HALF : 0;
#pragma unroll
  for (int m = 0; m < HALF / 32; m++) {
    float2 cos[4], sin[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
      u64 col = table + m * 32 + i * 8 + quad * 2;
      cos[i] = *(const float2 *)(heads.cos + col);
      sin[i] = *(const float2 *)(heads.sin + col);
    }
#pragma unroll
    for (int h = 0; h < 256 / D; h++) {
      int head = first / D + h, of_kv = head - heads.queries;
      bool there = in && head < total, value = of_kv >= heads.kv;
      hf *at = of_kv < 0 ? heads.q + (row * heads.queries + head) * D
               : value   ? heads.values + (to * heads.kv + of_kv - heads.kv) * D
                         : heads.keys + (to * heads.kv + of_kv) * D;
      u32 low[4], high[4];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float *of = c + (h * (D / 8) + m * 4 + i) * 4 + r * 2;
        Turned x = {make_float2(of[0], of[1]), make_float2(of[HALF / 2], of[HALF / 2 + 1])};
        if (bias && there) x.add(bias + head * D + m * 32 + i * 8 + quad * 2, HALF);
        if (value) {
          low[i] = pack(x.low.x, x.low.y);
          high[i] = pack(x.high.x, x.high.y);
        } else {
          x.turn(cos[i], sin[i]);
          low[i] = pack_f16(x.low.x, x.low.y);
          high[i] = pack_f16(x.high.x, x.high.y);
        }
      }
      turn_in_quad(low);
      turn_in_quad(high);
      if (!there) continue;
      write16(at + m * 32 + quad * 8, low);
      write16(at + HALF + m * 32 + quad * 8, high);
    }
  }
}

template <int D>
DEVICE void qkv_product(const TensorMap *x, const TensorMap *weight, const TensorMap *t,
                        const TensorMap *q_b, const TensorMap *k_b, const TensorMap *v_b,
                        const float *bias, const Heads &heads, int rows, int row_pairs,
                        int columns, int steps, int sixteens, int q_first, int k_first,
                        int v_first) {
  extern __shared__ __align__(1024) unsigned char room[];
  Ring ring(shared_address(room));
  ring.start();
  int rank = cluster_rank(), group = (int)threadIdx.x / 128 - 1, pairs = row_pairs * columns;
  if (group < 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == 0) {
      int keys = heads.queries * D, values = keys + heads.kv * D;
      for (int pair = blockIdx.x / 2; pair < pairs; pair += gridDim.x / 2) {
        int2 tile = pair_of_tiles(pair, row_pairs, columns, 256);
        int row = tile.x + rank * 128;
        for (int k = 0; k < steps; k++, ring.next()) {
          ring.take(SLOT);
          fetch(ring.data(), x, k * 64, row, ring.full());
          fetch_for_both(ring.panel(2 + 2 * rank), weight, k * 64, tile.y + rank * 128,
                         ring.full());
        }
        for (int k = 0; k * 4 < sixteens; k++, ring.next()) {
          ring.take(SLOT);
          fetch(ring.data(), t, k * 64, row, ring.full());
          for (int i = 2 * rank; i < 2 * rank + 2; i++) {
            int col = tile.y + i * 64;
            // Where a part of t does not stand there are no rows of its b, which gives zeros.
            if (col < keys)
              fetch_for_both(ring.panel(2 + i), q_b, col, k * 64 - q_first, ring.full());
            else if (col < values)
              fetch_for_both(ring.panel(2 + i), k_b, col - keys, k * 64 - k_first, ring.full());
            else
              fetch_for_both(ring.panel(2 + i), v_b, col - values, k * 64 - v_first,
                             ring.full());
          }
        }
      }
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    Reader at(ring, group);
    float c[128];
    for (int pair = blockIdx.x / 2; pair < pairs; pair += gridDim.x / 2) {
      int2 tile = pair_of_tiles(pair, row_pairs, columns, 256);
      for (int k = 0; k < steps; k++) multiply<false>(at, c, k == 0);
      for (int k = sixteens; k > 0; k -= 4) multiply_some(at, c, k < 4 ? k : 4);
      products_wait<0>();
      at.settle();
#pragma unroll
      for (int r = 0; r < 2; r++) {
        int row = tile.x + rank * 128 + group * 64 + row_in_group() + r * 8;
        place_row<D>(c, r, row, row < rows, tile.y, bias, heads);
      }
    }
  }
  __syncwarp();
  cluster_sync();
}
#else
template <int D>
DEVICE void qkv_product(const TensorMap *, const TensorMap *, const TensorMap *,
                        const TensorMap *, const TensorMap *, const TensorMap *, const float *,
                        const Heads &, int, int, int, int, int, int, int, int) {}
#endif

// Rotated queries of x W^T + t b + bias go to q, and rotated keys, both in half precision, and
// values to their row of the cache. t has the low-rank parts' columns side by side, `sixteens` times
// 16 of them; `q_first`, `k_first`, and `v_first` are where theirs begin.
#define QKV_PRODUCT(D)                                                                             \
  KERNEL PAIRED qkv_product_##D(                                                                   \
      const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight,               \
      const __grid_constant__ TensorMap t, const __grid_constant__ TensorMap q_b,                  \
      const __grid_constant__ TensorMap k_b, const __grid_constant__ TensorMap v_b,                \
      const float *bias, hf *q, hf *keys, hf *values, const int *position, const int *cache_row,   \
      const float *cos, const float *sin, int queries, int kv, int rows, int row_pairs,            \
      int columns, int steps, int sixteens, int q_first, int k_first, int v_first) {               \
    Heads heads = {q, keys, values, position, cache_row, cos, sin, queries, kv};                   \
    qkv_product<D>(&x, &weight, &t, &q_b, &k_b, &v_b, bias, heads, rows, row_pairs, columns,       \
                   steps, sixteens, q_first, k_first, v_first);                                    \
  }
QKV_PRODUCT(64)
QKV_PRODUCT(128)
