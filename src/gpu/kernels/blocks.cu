// Weights that stay in few bits: products of few rows, which widen them in registers on their way to
// the tensor cores, and their numbers in 16 bits for products of many rows.
//
// Compiled once a format, whose numbers the host defines: HIGH and WORDS, words of 32 bits a thread
// and a row below; SCALES, how words give scales; ZERO; CODES, the numbers of sixteen codes.
//
// A tile is 64 outputs by 64 inputs, as the left operand of a tensor core's product has them: thread t
// of 128 has the outputs `16 (t / 32) + t % 32 / 4` and 8 further, and of each 16 inputs those from
// `2 (t % 4)` on and 8 further, two each. So a thread has 32 numbers. Number `n` of each 16 inputs'
// eight is bits of byte `n / 2`: the lower four, of step i, bits `4 (n % 2)` of word i; what is above
// them bits `HIGH (2 i + n % 2)` of the bytes of HIGH words. Tiles of 64 outputs follow each other by
// inputs: first the words of four bits of all threads, then those above. Beside them, WORDS rows of 64
// words: the scales of the tile's outputs. Every number is the one that F32 arithmetic gives, rounded
// to 16 bits once: a product has the bits of the same product with the widened weight.

#define AS_CODES 0   // a scale of 64 inputs in F32: code * scale
#define AS_ZERO 1    // a scale of 64 inputs in F32, whose last five bits are a zero point
#define AS_HALVES 2  // two scales of 32 inputs in half precision; the zero point is ZERO
#define AS_PAIRS 3   // for 32 inputs each, a scale and a least number in half precision
#define AS_SUPER 4   // for 32 inputs each, a scale and a least number of a byte; then scales of both
#define AS_SIGNED 5  // for 16 inputs each, a scale of a byte; then a scale of those; zero point ZERO

// Bytes of a tile: numbers, and scales.
constexpr int TILE_CODES = 128 * 4 * (4 + HIGH), TILE_SCALES = WORDS * 64 * 4;
constexpr int TILE_BYTES = TILE_CODES + TILE_SCALES;

DEVICE float half_number(u32 word) {
  float r;
  asm("{.reg .b16 low, high; mov.b32 {low, high}, %1; cvt.f32.f16 %0, low;}" : "=f"(r) : "r"(word));
  return r;
}

// Constants that stay in registers: an instruction takes one number of its own, and the compiler would
// make the other anew every time. `zero` is 0, which the compiler does not know.
struct Constants {
  u32 exponent_23, exponent_0, nibbles, mantissas;
  DEVICE Constants(u32 zero)
      : exponent_23(0x4b000000u ^ zero), exponent_0(0x3f000000u ^ zero),
        nibbles(0x0f0f0f0fu ^ zero), mantissas(0x78787878u ^ zero) {}
};

// A byte of a word as a number: in the mantissa of 2^23, which is taken away.
DEVICE float byte_number(u32 word, int byte, const Constants &c, float less = 0.f) {
  return __uint_as_float(__byte_perm(word, c.exponent_23, 0x7440 + byte)) - (8388608.f + less);
}

// A number is `q * scale + least`, q being its bits. With a zero point, four bits stand in the upper
// mantissa of 1, as 1 + q / 16, which saves taking away where they stand: what is taken away with the
// zero point is exact.
#define IN_MANTISSA (HIGH == 0 && (SCALES == AS_ZERO || SCALES == AS_HALVES))

struct Scale {
  float scale, least;
};

// Of a row, for step i of 16 inputs.
DEVICE Scale scale_of(const u32 *w, int i, const Constants &c) {
  Scale s;
  float zero = ZERO;
#if SCALES == AS_CODES
  s.scale = __uint_as_float(w[0]);
  s.least = 0.f;
#elif SCALES == AS_ZERO
  s.scale = __uint_as_float(w[0] & ~31u);
  zero = byte_number(w[0] & 31u, 0, c);
#elif SCALES == AS_HALVES
  s.scale = half_number(w[0] >> (i / 2 * 16));
#elif SCALES == AS_PAIRS
  s.scale = half_number(w[i / 2]);
  s.least = half_number(w[i / 2] >> 16);
#elif SCALES == AS_SUPER
  s.scale = half_number(w[1]) * byte_number(w[0], i / 2 * 2, c);
  s.least = -(half_number(w[1] >> 16) * byte_number(w[0], i / 2 * 2 + 1, c));
#else
  s.scale = half_number(w[1]) * byte_number(w[0] ^ 0x80808080u, i, c, 128.f);
#endif
#if IN_MANTISSA
  s.scale *= 16.f;
  s.least = -s.scale * (zero * 0.0625f + 1.f);
#elif SCALES == AS_ZERO || SCALES == AS_HALVES || SCALES == AS_SIGNED
  s.least = -s.scale * zero;
#endif
  return s;
}

// A thread's numbers of a tile, and the scales of its two outputs.
struct Held {
  u32 low[4];
  u32 high[HIGH ? HIGH : 1];
  u32 scales[2][WORDS];
};

// Where the numbers of codes are laid out in shared memory.
#if SCALES == AS_CODES
__constant__ float NUMBERS[16] = CODES;
// Those of both codes of a byte, once for each of sixteen lanes: no two of them meet in a bank.
constexpr int CODE_TABLE = 256 * 16 * 8;
struct Pairs {
  u32 at;
  DEVICE Pairs(void *room) : at(shared_address(room) + (threadIdx.x & 15) * 8) {
#pragma unroll 4
    for (int i = threadIdx.x; i < 256 * 16; i += blockDim.x)
      ((float2 *)room)[i] = make_float2(NUMBERS[i / 16 & 15], NUMBERS[i / 256]);
  }
  DEVICE float2 of(u32 byte) const {
    float2 pair;
    asm("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(pair.x), "=f"(pair.y) : "r"(at + byte * 128));
    return pair;
  }
};
// Those of single codes, each in a bank of its own.
struct Singles {
  const float *at;
  DEVICE Singles(float *room) : at(room) {
    if (threadIdx.x < 16) room[threadIdx.x] = NUMBERS[threadIdx.x];
  }
  DEVICE float2 of(u32 byte) const { return make_float2(at[byte & 15], at[byte >> 4]); }
};
#else
constexpr int CODE_TABLE = 0;
struct Pairs {
  DEVICE Pairs(void *) {}
};
struct Singles {
  DEVICE Singles(float *) {}
};
#endif

// Step i of a tile as the left operand: registers of two numbers each.
template <class Codes>
DEVICE void widen(const Held &of, int i, const Codes &codes, const Constants &c, u32 *a) {
  Scale rows[2] = {scale_of(of.scales[0], i, c), scale_of(of.scales[1], i, c)};
#if SCALES == AS_CODES
#pragma unroll
  for (int j = 0; j < 4; j++) {
    float2 pair = codes.of(__byte_perm(of.low[i], 0, 0x4440 + j));
    a[j] = pack(pair.x * rows[j & 1].scale, pair.y * rows[j & 1].scale);
  }
#else
#if IN_MANTISSA
  u32 even = of.low[i] << 3 & c.mantissas | 0x80808080u;
  u32 odd = of.low[i] >> 1 & c.mantissas | 0x80808080u;
#else
  u32 even = of.low[i] & c.nibbles, odd = of.low[i] >> 4 & c.nibbles;
#endif
#if HIGH
  constexpr u32 ABOVE = ((1u << HIGH) - 1) * 0x01010101u;
  int bit = 2 * i * HIGH;
  even |= (of.high[bit / 8] >> (bit % 8) & ABOVE) << 4;
  bit += HIGH;
  odd |= (of.high[bit / 8] >> (bit % 8) & ABOVE) << 4;
#endif
#pragma unroll
  for (int j = 0; j < 4; j++) {
#if IN_MANTISSA
    float first = __uint_as_float(__byte_perm(even, c.exponent_0, 0x7044 + (j << 8)));
    float second = __uint_as_float(__byte_perm(odd, c.exponent_0, 0x7044 + (j << 8)));
#else
    float first = byte_number(even, j, c), second = byte_number(odd, j, c);
#endif
    Scale s = rows[j & 1];
    a[j] = pack(fmaf(first, s.scale, s.least), fmaf(second, s.scale, s.least));
  }
#endif
}

// The row of a tile that is a thread's first; its second is eight further.
DEVICE int tile_row(int thread) { return (thread >> 5) * 16 + (thread & 31) / 4; }

// What thread `t` of 128 has of a tile in global memory.
DEVICE Held held_at(const unsigned char *tile, int t) {
  Held of;
  const u32 *low = (const u32 *)tile + t * 4, *high = (const u32 *)tile + 512 + t * HIGH;
  const u32 *scales = (const u32 *)(tile + TILE_CODES) + tile_row(t);
#pragma unroll
  for (int i = 0; i < 4; i++) of.low[i] = low[i];
#pragma unroll
  for (int i = 0; i < HIGH; i++) of.high[i] = high[i];
#pragma unroll
  for (int w = 0; w < WORDS; w++) {
    of.scales[0][w] = scales[w * 64];
    of.scales[1][w] = scales[w * 64 + 8];
  }
  return of;
}

// y[n, k]: the numbers in 16 bits. A block has so many tiles of 64 outputs.
KERNEL __launch_bounds__(128) blocks_widen(const unsigned char *w, hf *y, int n, int k, int each) {
  constexpr int WIDE = 72;
  __shared__ __align__(16) hf turned[64 * WIDE];
  __shared__ float numbers[16];
  Singles codes(numbers);
  Constants constants(0);
  int tiles = k / 64, t = threadIdx.x, quad = t & 3;
  int from = blockIdx.x * each, to = min(from + each, tiles), first = blockIdx.y * 64;
  for (int tile = from; tile < to; tile++) {
    Held of = held_at(w + ((u64)blockIdx.y * tiles + tile) * TILE_BYTES, t);
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; i++) {
      u32 a[4];
      widen(of, i, codes, constants, a);
#pragma unroll
      for (int j = 0; j < 4; j++)
        *(u32 *)(turned + (tile_row(t) + (j & 1) * 8) * WIDE + i * 16 + (j >> 1) * 8 + quad * 2) =
            a[j];
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < 4; i++) {
      int row = i * 16 + t / 8, place = t % 8 * 8;
      if (first + row < n)
        *(uint4 *)(y + (u64)(first + row) * k + tile * 64 + place) =
            *(const uint4 *)(turned + row * WIDE + place);
    }
  }
}

// Rows of a table of tokens, times a scale. Four numbers of a step a thread.
KERNEL blocks_embed(const unsigned char *w, const int *tokens, float *x, int k, float scale) {
  __shared__ float numbers[16];
  Singles codes(numbers);
  Constants constants(0);
  take_turn();
  __syncthreads();
  int row = tokens[blockIdx.x], in = row % 64, tiles = k / 64;
  int second = in / 8 % 2, lane = in % 8 * 4 + (threadIdx.x & 3), thread = in / 16 * 32 + lane;
  for (int at = threadIdx.x / 4; at < tiles * 4; at += blockDim.x / 4) {
    Held of = held_at(w + ((u64)(row / 64) * tiles + at / 4) * TILE_BYTES, thread);
    u32 steps[4][4];
#pragma unroll
    for (int i = 0; i < 4; i++) widen(of, i, codes, constants, steps[i]);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      if (at % 4 != i) continue;
      float *to = x + (u64)blockIdx.x * k + at / 4 * 64 + i * 16 + (lane & 3) * 2;
#pragma unroll
      for (int j = 0; j < 2; j++) {
        u32 pair = second ? steps[i][2 * j + 1] : steps[i][2 * j];
        to[j * 8] = wide((hf)pair) * scale;
        to[j * 8 + 1] = wide((hf)(pair >> 16)) * scale;
      }
    }
  }
}

// Random numbers, all with these scales.
KERNEL blocks_random(u32 *w, u64 words, u64 seed, u32 first, u32 second) {
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  for (; i < words; i += (u64)gridDim.x * blockDim.x) {
    int at = i % (TILE_BYTES / 4) - TILE_CODES / 4;
    w[i] = at < 0 ? (u32)(scrambled(i, seed) >> 32) : at < 64 ? first : second;
  }
}

// A block's share of a product of few rows: outputs by groups of 128 threads, 64 each, and tiles of
// inputs.
struct Share {
  int group, thread, panel, mine, first, end, all, from, to;
  DEVICE Share(int n, int k, int tiles) {
    group = threadIdx.x >> 7, thread = threadIdx.x & 127;
    int panels = (n + 63) / 64, each = panels / gridDim.x, more = panels % gridDim.x;
    int block = blockIdx.x, before = block * each + min(block, more);
    mine = each + (block < more), panel = before + group;
    first = before * 64, end = min(first + mine * 64, n);
    all = k / 64, from = blockIdx.y * tiles, to = min(from + tiles, all);
  }
  DEVICE bool works() const { return group < mine; }
  // The tiles of a panel.
  DEVICE const unsigned char *tiles_of(const unsigned char *w, int panel) const {
    return w + (u64)panel * all * TILE_BYTES;
  }
};

// Where a thread's part of a tile is in shared memory.
struct HeldAt {
  u32 low, high, scales;
  DEVICE HeldAt(u32 tile, int thread)
      : low(tile + thread * 16), high(tile + 2048 + thread * HIGH * 4),
        scales(tile + TILE_CODES + tile_row(thread) * 4) {}
  DEVICE void move(u32 bytes) { low += bytes, high += bytes, scales += bytes; }
  DEVICE Held read() const {
    Held of;
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(of.low[0]), "=r"(of.low[1]), "=r"(of.low[2]), "=r"(of.low[3])
                 : "r"(low)
                 : "memory");
#pragma unroll
    for (int i = 0; i < HIGH; i++) of.high[i] = shared_word(high + i * 4);
#pragma unroll
    for (int s = 0; s < WORDS; s++) {
      of.scales[0][s] = shared_word(scales + s * 256);
      of.scales[1][s] = shared_word(scales + s * 256 + 32);
    }
    return of;
  }
};

// Sums to y. What has 16 bits goes through shared memory, so that whole sectors are written.
template <int M>
DEVICE void put_sums(const float *sum, const Share &at, unsigned char *room, void *y,
                     const float *bias, int m, int y_stride, int is_f32, int groups) {
  int outputs = 64 * groups, wide_row = outputs + 8, lane = threadIdx.x & 31;
  hf *turned = (hf *)room;
  if (!is_f32) __syncthreads();
  if (at.works()) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
      int place = at.group * 64 + tile_row(at.thread) + half * 8, column = at.first + place;
      if (column >= at.end) continue;
      float add = bias && blockIdx.y == 0 ? bias[column] : 0.f;
#pragma unroll
      for (int j = 0; j < M / 8; j++)
#pragma unroll
        for (int e = 0; e < 2; e++) {
          int row = j * 8 + (lane & 3) * 2 + e;
          float v = sum[j * 4 + half * 2 + e] + add;
          if (!is_f32)
            turned[row * wide_row + place] = narrow(v);
          else if (row < m)
            ((float *)y)[((u64)blockIdx.y * m + row) * y_stride + column] = v;
        }
    }
  }
  if (is_f32) return;
  __syncthreads();
  for (int i = threadIdx.x; i < m * outputs / 8; i += blockDim.x) {
    int row = i / (outputs / 8), place = i % (outputs / 8) * 8, column = at.first + place;
    const hf *from = turned + row * wide_row + place;
    hf *to = (hf *)y + (u64)row * y_stride + column;
    if (column + 8 <= at.end)
      *(uint4 *)to = *(const uint4 *)from;
    else
      for (int j = 0; j < at.end - column; j++) to[j] = from[j];
  }
}

// Where a lane reads in a tile's rows, for products of warps.
DEVICE u32 lane_place() {
  int lane = threadIdx.x & 31, row = (lane & 7) + (lane >> 4) * 8;
  return row * 128 + (((lane >> 3 & 1) ^ (row & 7)) << 4);
}
// Adds a tile times its rows, by products of a warp; `rows` is where the lane reads.
template <int M>
DEVICE void multiply_tile(const Held &of, const Pairs &codes, const Constants &constants, u32 rows,
                          float *sum) {
#pragma unroll
  for (int step = 0; step < 4; step++) {
    u32 a[4], b[4];
    widen(of, step, codes, constants, a);
#pragma unroll
    for (int j = 0; j < M / 16; j++) {
      load4(b, (rows ^ (step << 5)) + j * 2048);
      multiply(sum + j * 8, a, b[0], b[1]);
      multiply(sum + j * 8 + 4, a, b[2], b[3]);
    }
  }
}

// y[m, n] = x[m, k] W[n, k]^T of up to M rows: 64 outputs a group, shared evenly among the blocks; the
// inner dimension is split over `gridDim.y` blocks, whose sums stay apart.
#if WARP_GROUPS
// On Hopper: the stages that a block's tiles and rows go through. Each group fetches its own tiles, the
// first one the rows too, and none waits for another before a whole turn.
template <int M, int STAGES> struct Stages {
  static constexpr int X_BYTES = M * 128;
  const TensorMap *x;
  const unsigned char *own;
  // Rows begin at multiples of 1024 bytes; then come tiles, then barriers.
  u32 rows, held, full, empty, tiles;
  int from, count, slot = 0;
  bool leads, first;
  u32 phase = 0;
  // Of the tile at hand: its rows from `place` on, this thread's part, the barrier when it is there.
  u32 rows_at, full_at;
  HeldAt held_at;

  // `arrivals` a group when it has read a tile and its rows.
  DEVICE Stages(const TensorMap *x, const unsigned char *w, unsigned char *room, const Share &at,
                int groups, int arrivals, u32 place)
      : x(x), own(at.tiles_of(w, at.panel) + (u64)at.from * TILE_BYTES),
        rows(shared_address(room) + CODE_TABLE),
        held(rows + STAGES * X_BYTES + at.group * TILE_BYTES),
        full(rows + STAGES * (X_BYTES + groups * TILE_BYTES)), empty(full + STAGES * 8),
        tiles(groups * TILE_BYTES), from(at.from), count(at.to - at.from),
        leads(at.works() && at.thread == 0), first(threadIdx.x == 0), rows_at(rows + place),
        full_at(full), held_at(held, at.thread) {
    if (first) {
      for (int i = 0; i < STAGES; i++) {
        barrier_init(full + i * 8, at.mine + 1);
        barrier_init(empty + i * 8, at.mine * arrivals);
      }
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
    // The weight does not wait for the kernel before, the rows are what it wrote.
    if (leads)
      for (int i = 0; i < min(STAGES, count); i++) fetch_tile(i, i);
    take_turn();
    if (first)
      for (int i = 0; i < min(STAGES, count); i++) fetch_rows(i, i);
  }
  DEVICE void fetch_tile(int i, int slot) {
    barrier_expect(full + slot * 8, TILE_BYTES);
    fetch_bytes(held + slot * tiles, own + (u64)i * TILE_BYTES, TILE_BYTES, full + slot * 8);
  }
  DEVICE void fetch_rows(int i, int slot) {
    barrier_expect(full + slot * 8, X_BYTES);
    fetch(rows + slot * X_BYTES, x, (from + i) * 64, 0, full + slot * 8);
  }
  // Waits for the tile at hand.
  DEVICE void ready() { barrier_wait(full_at, phase); }
  // Says that tile i has been read, where the thread speaks for others.
  DEVICE void done(int i) { barrier_arrive_here(empty + i % STAGES * 8); }
  // Fetches to the slot of two tiles before tile i, when all groups have read it.
  DEVICE void fetch_next(int i) {
    if (!leads || i < 2 || i - 2 + STAGES >= count) return;
    int old = i - 2, to = old % STAGES;
    barrier_wait(empty + to * 8, old / STAGES & 1);
    fetch_tile(old + STAGES, to);
    if (first) fetch_rows(old + STAGES, to);
  }
  DEVICE void next() {
    bool wraps = ++slot == STAGES;
    held_at.move(wraps ? tiles * (1 - STAGES) : tiles);
    rows_at += wraps ? X_BYTES * (1 - STAGES) : X_BYTES;
    full_at += wraps ? 8 * (1 - STAGES) : 8;
    if (wraps) slot = 0, phase ^= 1;
  }
};

// Of up to 32 rows: products of warps, which wait for no other warp. `rows_at` is where a lane reads.
template <int M, int STAGES>
DEVICE void multiply_by_warps(Stages<M, STAGES> &at, const Pairs &codes, const Constants &constants,
                              float *sum) {
  bool speaks = (threadIdx.x & 31) == 0;
  for (int i = 0; i < at.count; i++) {
    at.ready();
    Held of = at.held_at.read();
    multiply_tile<M>(of, codes, constants, at.rows_at, sum);
    __syncwarp();
    if (speaks) at.done(i);
    at.fetch_next(i);
    at.next();
  }
}

// Of more: products of groups, which run while the next half of a tile is widened.
template <int M, int STAGES>
DEVICE void multiply_by_groups(Stages<M, STAGES> &at, const Pairs &codes,
                               const Constants &constants, float *sum) {
  for (int i = 0; i < at.count; i++) {
    at.ready();
    Held of = at.held_at.read();
    u64 b = describe(at.rows_at);
#pragma unroll
    for (int half = 0; half < 2; half++) {
      u32 a[8];
      widen(of, 2 * half, codes, constants, a);
      widen(of, 2 * half + 1, codes, constants, a + 4);
      products_begin();
      Group<M>::multiply_held(sum, a, b + 4 * half);
      Group<M>::multiply_held(sum, a + 4, b + 4 * half + 2);
      products_commit();
      // Those of the half before are done, and with the first half the tile before.
      products_wait<1>();
      if (half) continue;
      if (i > 0 && at.leads) at.done(i - 1);
      at.fetch_next(i);
    }
    at.next();
  }
  products_wait<0>();
}

template <int M, int STAGES>
DEVICE void few_rows(const TensorMap *x, const unsigned char *w, void *y, const float *bias, int m,
                     int n, int k, int y_stride, int tiles, int is_f32, int groups) {
  extern __shared__ __align__(1024) unsigned char room[];
  constexpr bool BY_WARPS = M <= 32;
  Pairs codes(room);
  Constants constants((u32)m >> 31);
  Share at(n, k, tiles);
  u32 place = BY_WARPS ? lane_place() : 0;
  Stages<M, STAGES> stages(x, w, room, at, groups, BY_WARPS ? 4 : 1, place);
  float sum[M / 2];
#pragma unroll
  for (int i = 0; i < M / 2; i++) sum[i] = 0.f;
  if (at.works()) {
    if constexpr (BY_WARPS)
      multiply_by_warps(stages, codes, constants, sum);
    else
      multiply_by_groups(stages, codes, constants, sum);
  }
  put_sums<M>(sum, at, room + CODE_TABLE, y, bias, m, y_stride, is_f32, groups);
}
#endif

template <int BYTES> DEVICE void copy_few(u32 to, const void *from) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(from), "n"(BYTES));
}

// With the products that every GPU has.
template <int M, int STAGES>
DEVICE void few_rows_plain(const hf *x, const unsigned char *w, void *y, const float *bias, int m,
                           int n, int k, int y_stride, int tiles, int is_f32, int groups) {
  extern __shared__ __align__(1024) unsigned char room[];
  constexpr int X_BYTES = M * 128;
  Pairs codes(room);
  Constants constants((u32)m >> 31);
  Share at(n, k, tiles);
  int thread = at.thread;
  u32 place = lane_place();
  u32 base = shared_address(room) + CODE_TABLE;
  auto rows_of = [&](int tile) { return base + ((tile - at.from) % STAGES) * X_BYTES; };
  auto tile_of = [&](int tile) {
    u32 stage = (tile - at.from) % STAGES;
    return base + STAGES * X_BYTES + (stage * groups + at.group) * TILE_BYTES;
  };
  const unsigned char *own = at.tiles_of(w, at.panel);
  auto load_weights = [&](int tile) {
    if (tile >= at.to || !at.works()) return;
    u32 to = tile_of(tile);
    const unsigned char *of = own + (u64)tile * TILE_BYTES;
    copy16(to + thread * 16, of + thread * 16, true);
    if (HIGH == 4) copy16(to + 2048 + thread * 16, of + 2048 + thread * 16, true);
    if (HIGH == 1 || HIGH == 2)
      copy_few<HIGH == 2 ? 8 : 4>(to + 2048 + thread * 4 * HIGH, of + 2048 + thread * 4 * HIGH);
    if (thread < TILE_SCALES / 16)
      copy16(to + TILE_CODES + thread * 16, of + TILE_CODES + thread * 16, true);
  };
  auto load_rows = [&](int tile) {
    if (tile < at.to) {
      int c = threadIdx.x & 7, column = tile * 64 + c * 8;
      for (int r = threadIdx.x >> 3; r < M; r += blockDim.x >> 3)
        copy16(rows_of(tile) + r * 128 + ((c ^ (r & 7)) << 4),
               r < m ? x + (u64)r * k + column : x, r < m);
    }
    copy_commit();
  };
  float sum[M / 2];
#pragma unroll
  for (int i = 0; i < M / 2; i++) sum[i] = 0.f;
  // The weight does not wait for the kernel before, the rows are what it wrote.
  for (int s = 0; s < STAGES - 1; s++) load_weights(at.from + s);
  take_turn();
  for (int s = 0; s < STAGES - 1; s++) load_rows(at.from + s);
  for (int tile = at.from; tile < at.to; tile++) {
    copy_wait<STAGES - 2>();
    __syncthreads();
    // The stage of the tile before: every group has finished it.
    load_weights(tile + STAGES - 1);
    load_rows(tile + STAGES - 1);
    if (!at.works()) continue;
    Held of = HeldAt(tile_of(tile), thread).read();
    multiply_tile<M>(of, codes, constants, rows_of(tile) + place, sum);
  }
  put_sums<M>(sum, at, room + CODE_TABLE, y, bias, m, y_stride, is_f32, groups);
}

#if WARP_GROUPS
#define FEW_ROWS(M)                                                                                \
  KERNEL __launch_bounds__(640, 1)                                                                 \
      blocks_##M(const __grid_constant__ TensorMap x, const unsigned char *w, void *y,             \
                 const float *bias, int m, int n, int k, int y_stride, int tiles, int is_f32,      \
                 int groups) {                                                                     \
    few_rows<M, STAGES_##M>(&x, w, y, bias, m, n, k, y_stride, tiles, is_f32, groups);             \
  }
FEW_ROWS(16)
FEW_ROWS(32)
FEW_ROWS(64)
FEW_ROWS(128)
#endif
#define FEW_ROWS_PLAIN(M)                                                                          \
  KERNEL __launch_bounds__(256)                                                                    \
      blocks_plain_##M(const hf *x, const unsigned char *w, void *y, const float *bias, int m,     \
                       int n, int k, int y_stride, int tiles, int is_f32, int groups) {            \
    few_rows_plain<M, 3>(x, w, y, bias, m, n, k, y_stride, tiles, is_f32, groups);                 \
  }
FEW_ROWS_PLAIN(16)
FEW_ROWS_PLAIN(64)
