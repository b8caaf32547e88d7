// Causal grouped-query attention for heads of up to 256 numbers and for windows, forward and backward:
// a block a row and query head, in F32, without products of tiles.
//
// A row goes through its sequence's keys in blocks of 32 that begin at multiples of 32, the blocks in
// turns over four warps, so its bits depend neither on the chunk that it came in nor on other rows.

#define WARPS 4
// Pairs of numbers that a lane has of a head.
#define PAIRS 4

DEVICE float of_f16(hf x) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x));
  return r;
}

// The product of a head in shared memory with one in memory, in half precision or as the model has it.
template <bool F16> DEVICE float head_product(const float *a, const hf *b, int dim) {
  float sum = 0.f;
  for (int i = 0; i < dim; i += 8) {
    Eight e;
    e.v = *(const uint4 *)(b + i);
#pragma unroll
    for (int j = 0; j < 8; j++) sum += a[i + j] * (F16 ? of_f16(e.h[j]) : wide(e.h[j]));
  }
  return sum;
}

// sums[pair] += weight * head, a lane its pairs.
template <bool F16> DEVICE void add_head(float *sums, float weight, const hf *head, int dim) {
  int lane = threadIdx.x & 31;
#pragma unroll
  for (int p = 0; p < PAIRS; p++) {
    int pair = p * 32 + lane;
    if (pair * 2 >= dim) continue;
    u32 two = *(const u32 *)(head + pair * 2);
    hf low = (hf)two, high = (hf)(two >> 16);
    sums[2 * p] += weight * (F16 ? of_f16(low) : wide(low));
    sums[2 * p + 1] += weight * (F16 ? of_f16(high) : wide(high));
  }
}

// A head to shared memory, by all threads of the block.
template <bool F16> DEVICE void share_head(float *to, const hf *from, int dim) {
  for (int i = threadIdx.x; i < dim; i += blockDim.x) to[i] = F16 ? of_f16(from[i]) : wide(from[i]);
}

// The sum of what the warps have of a head, in their order.
DEVICE void join_heads(const float *sums, float (*room)[256], hf *to, int dim) {
  int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  __syncthreads();
  for (int p = 0; p < PAIRS; p++)
    for (int j = 0; j < 2; j++) room[warp][(p * 32 + lane) * 2 + j] = sums[2 * p + j];
  __syncthreads();
  for (int i = threadIdx.x; i < dim; i += blockDim.x) {
    float sum = 0.f;
    for (int w = 0; w < WARPS; w++) sum += room[w][i];
    to[i] = narrow(sum);
  }
}

// Grid: (rows, query heads). `lse` gets the logarithm to base 2 of the scaled scores' sum; a row whose
// cache row is negative gets zeros. A row sees the last `window` positions.
KERNEL __launch_bounds__(128)
    attend_plain(const hf *q, const hf *keys, const hf *values, hf *out, float *lse,
                 const int *position, const int *cache_row, int queries, int kv, int dim,
                 int window, float scale) {
  __shared__ float query[256], room[WARPS][256], tops[WARPS], totals[WARPS];
  int row = blockIdx.x, head = blockIdx.y, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  u64 place = (u64)row * queries + head;
  int at = cache_row[row], last = position[row];
  if (at < 0) {
    for (int i = threadIdx.x; i < dim; i += blockDim.x) out[place * dim + i] = 0;
    return;
  }
  share_head<true>(query, q + place * dim, dim);
  __syncthreads();
  u64 stride = (u64)kv * dim, base = (u64)(at - last) * stride + head / (queries / kv) * dim;
  int first = max(last - window + 1, 0);
  float sums[2 * PAIRS] = {}, top = -3e38f, total = 0.f, to2 = scale * 1.4426950408889634f;
  for (int block = first / 32; block * 32 <= last; block++) {
    if (block % WARPS != warp) continue;
    int key = block * 32 + lane;
    bool sees = key >= first && key <= last;
    float s = sees ? head_product<true>(query, keys + base + key * stride, dim) * to2 : -3e38f;
    float m = fmaxf(top, warp_max(s)), shrink = exp2_fast(top - m);
    float p = sees ? exp2_fast(s - m) : 0.f;
    total = total * shrink + warp_sum(p);
    top = m;
    for (int i = 0; i < 2 * PAIRS; i++) sums[i] *= shrink;
    for (int j = max(first - block * 32, 0); j < 32 && block * 32 + j <= last; j++)
      add_head<false>(sums, __shfl_sync(~0u, p, j), values + base + (block * 32 + j) * stride, dim);
  }
  if (lane == 0) tops[warp] = top, totals[warp] = total;
  __syncthreads();
  float m = tops[0], all = 0.f;
  for (int w = 1; w < WARPS; w++) m = fmaxf(m, tops[w]);
  for (int w = 0; w < WARPS; w++) all += totals[w] * exp2_fast(tops[w] - m);
  float share = exp2_fast(top - m) / all;
  for (int i = 0; i < 2 * PAIRS; i++) sums[i] *= share;
  join_heads(sums, room, out + place * dim, dim);
  if (lse && threadIdx.x == 0) lse[place] = m + __log2f(all);
}

// The gradient by a row's query, and delta, the sum of d_out * out. Grid: (rows, query heads).
KERNEL __launch_bounds__(128)
    attend_plain_queries(const hf *q, const hf *keys, const hf *values, const hf *out,
                         const hf *d_out, const float *lse, float *delta, hf *dq,
                         const int *position, const int *cache_row, int queries, int kv, int dim,
                         int window, float scale) {
  __shared__ float query[256], by_out[256], room[WARPS][256], few[32];
  int row = blockIdx.x, head = blockIdx.y, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  u64 place = (u64)row * queries + head;
  int at = cache_row[row], last = position[row];
  share_head<true>(query, q + place * dim, dim);
  share_head<false>(by_out, d_out + place * dim, dim);
  __syncthreads();
  float d = 0.f;
  for (int i = threadIdx.x; i < dim; i += blockDim.x) d += by_out[i] * wide(out[place * dim + i]);
  d = block_sum(d, few);
  if (threadIdx.x == 0) delta[place] = d;
  u64 stride = (u64)kv * dim, base = (u64)(at - last) * stride + head / (queries / kv) * dim;
  int first = max(last - window + 1, 0);
  float sums[2 * PAIRS] = {}, to2 = scale * 1.4426950408889634f, log_sum = lse[place];
  for (int block = first / 32; block * 32 <= last; block++) {
    if (block % WARPS != warp) continue;
    int key = block * 32 + lane;
    float ds = 0.f;
    if (key >= first && key <= last) {
      float s = head_product<true>(query, keys + base + key * stride, dim);
      float by = head_product<false>(by_out, values + base + key * stride, dim);
      ds = exp2_fast(s * to2 - log_sum) * (by - d) * scale;
    }
    for (int j = max(first - block * 32, 0); j < 32 && block * 32 + j <= last; j++)
      add_head<true>(sums, __shfl_sync(~0u, ds, j), keys + base + (block * 32 + j) * stride, dim);
  }
  join_heads(sums, room, dq + place * dim, dim);
}

// The gradient by a row's key and value, of one query head. Grid: (rows, query heads). Rows of whole
// sequences stand in their order, so those that see a key follow it.
KERNEL __launch_bounds__(128)
    attend_plain_keys(const hf *q, const hf *keys, const hf *values, const hf *d_out,
                      const float *lse, const float *delta, hf *dk, hf *dv, const int *position,
                      const int *cache_row, int rows, int queries, int kv, int dim, int window,
                      float scale) {
  __shared__ float key[256], value[256], room[WARPS][256];
  int row = blockIdx.x, head = blockIdx.y, warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  u64 stride = (u64)queries * dim;
  u64 from = (u64)cache_row[row] * kv * dim + head / (queries / kv) * dim;
  share_head<true>(key, keys + from, dim);
  share_head<false>(value, values + from, dim);
  __syncthreads();
  int sequence = row - position[row];
  float by_key[2 * PAIRS] = {}, by_value[2 * PAIRS] = {}, to2 = scale * 1.4426950408889634f;
  u64 end = min((u64)row + window, (u64)rows);
  for (int block = warp; row + block * 32 < end; block += WARPS) {
    int r = row + block * 32 + lane;
    bool sees = r < end && r - position[r] == sequence;
    float p = 0.f, ds = 0.f;
    u64 of = (u64)r * queries + head;
    if (sees) {
      float s = head_product<true>(key, q + of * dim, dim);
      p = exp2_fast(s * to2 - lse[of]);
      ds = p * (head_product<false>(value, d_out + of * dim, dim) - delta[of]) * scale;
    }
    int count = __popc(__ballot_sync(~0u, sees));
    u64 start = (u64)(row + block * 32) * stride + (u64)head * dim;
    for (int j = 0; j < count; j++) {
      add_head<true>(by_key, __shfl_sync(~0u, ds, j), q + start + j * stride, dim);
      add_head<false>(by_value, __shfl_sync(~0u, p, j), d_out + start + j * stride, dim);
    }
    if (count < 32) break;
  }
  u64 place = (u64)row * stride + (u64)head * dim;
  join_heads(by_key, room, dk + place, dim);
  join_heads(by_value, room, dv + place, dim);
}
