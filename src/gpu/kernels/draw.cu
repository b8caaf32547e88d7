// Draws a token after temperature, top-k, and top-p, as the host's sampler does, without sorting the
// vocabulary: tokens are counted in bins of their logit, and only the bin that a limit falls into is
// ranked. Masses are whole numbers, so no sum depends on its order.

#define BINS 2048
#define LIST 2048

struct Draw {
  u64 mass[BINS];
  u32 count[BINS];
  float list[LIST];
  int ids[LIST];
  u64 warp_mass[32];
  u32 warp_count[32];
  float room[32];
  // Of the token that was found: what ranks before it, and its own.
  u64 before, own;
  int bin, found, listed;
};

DEVICE int bin_of(float x, float top, float inverse) {
  return min(BINS - 1, (int)((top - x) * inverse * 64.f));
}
DEVICE u64 mass_of(float x, float top, float inverse) {
  return (u64)(expf((x - top) * inverse) * 1099511627776.f);
}

// Finds the first token in rank order whose sum of masses, or of ones, exceeds `target`.
DEVICE bool find_token(Draw &d, const float *x, int usable, float top, float inverse, u64 target,
                       bool by_mass) {
  __syncthreads();
  if (threadIdx.x == 0) d.bin = d.found = -1, d.listed = 0;
  __syncthreads();
  for (int b = threadIdx.x; b < BINS; b += blockDim.x) {
    u64 upto = by_mass ? d.mass[b] : d.count[b];
    u64 less = b == 0 ? 0 : by_mass ? d.mass[b - 1] : d.count[b - 1];
    if (less <= target && target < upto) d.bin = b;
  }
  __syncthreads();
  int bin = d.bin;
  if (bin < 0) return false;
  for (int i = threadIdx.x; i < usable; i += blockDim.x) {
    if (bin_of(x[i], top, inverse) != bin) continue;
    int at = atomicAdd(&d.listed, 1);
    if (at < LIST) {
      d.list[at] = x[i];
      d.ids[at] = i;
    }
  }
  __syncthreads();
  int listed = d.listed;
  if (listed > LIST) return false;
  u64 mass_less = bin == 0 ? 0 : d.mass[bin - 1], count_less = bin == 0 ? 0 : d.count[bin - 1];
  for (int e = threadIdx.x; e < listed; e += blockDim.x) {
    float mine = d.list[e];
    int id = d.ids[e];
    u64 mass = mass_less, count = count_less, own = mass_of(mine, top, inverse);
    for (int o = 0; o < listed; o++)
      if (d.list[o] > mine || (d.list[o] == mine && d.ids[o] < id)) {
        mass += mass_of(d.list[o], top, inverse);
        count++;
      }
    u64 less = by_mass ? mass : count, step = by_mass ? own : 1;
    if (less <= target && target < less + step) {
      d.found = id;
      d.before = mass;
      d.own = own;
    }
  }
  __syncthreads();
  return d.found >= 0;
}

// `params` has a row's temperature, top-p, number in [0, 1), and top-k, each `rows` apart. A row of
// temperature 0 keeps what it has. A token of -1 leaves the draw to the host.
KERNEL draw_rows(const float *logits, const float *params, int *token, float *logprob, int rows,
                 int stride, int usable) {
  __shared__ Draw d;
  take_turn();
  int row = blockIdx.x;
  float temperature = params[row], top_p = params[rows + row], u = params[2 * rows + row];
  int top_k = (int)params[3 * rows + row];
  if (temperature <= 0.f) return;
  const float *x = logits + (u64)row * stride;
  float inverse = 1.f / temperature, top = -3e38f;
  for (int b = threadIdx.x; b < BINS; b += blockDim.x) d.mass[b] = d.count[b] = 0;
  for (int i = threadIdx.x; i < usable; i += blockDim.x) top = fmaxf(top, x[i]);
  top = block_max(top, d.room);
  __syncthreads();
  for (int i = threadIdx.x; i < usable; i += blockDim.x) {
    int b = bin_of(x[i], top, inverse);
    atomicAdd(&d.mass[b], mass_of(x[i], top, inverse));
    atomicAdd(&d.count[b], 1u);
  }
  __syncthreads();
  // Sums up to each bin: two bins a thread, then warps, then all.
  int t = threadIdx.x, lane = t & 31, warp = t >> 5;
  u64 m0 = d.mass[2 * t], m1 = m0 + d.mass[2 * t + 1], m = m1;
  u32 c0 = d.count[2 * t], c1 = c0 + d.count[2 * t + 1], c = c1;
  for (int o = 1; o < 32; o <<= 1) {
    u64 more = __shfl_up_sync(~0u, m, o);
    u32 also = __shfl_up_sync(~0u, c, o);
    if (lane >= o) {
      m += more;
      c += also;
    }
  }
  if (lane == 31) {
    d.warp_mass[warp] = m;
    d.warp_count[warp] = c;
  }
  __syncthreads();
  u64 less = m - m1;
  u32 fewer = c - c1;
  for (int w = 0; w < warp; w++) {
    less += d.warp_mass[w];
    fewer += d.warp_count[w];
  }
  d.mass[2 * t] = less + m0;
  d.mass[2 * t + 1] = less + m1;
  d.count[2 * t] = fewer + c0;
  d.count[2 * t + 1] = fewer + c1;
  __syncthreads();

  u64 kept = d.mass[BINS - 1];
  bool known = true;
  // Beyond the last bin's edge no token has mass, and a limit there changes nothing.
  if (top_k > 0 && (u32)top_k <= d.count[BINS - 2]) {
    known = find_token(d, x, usable, top, inverse, top_k - 1, false);
    kept = d.before + d.own;
  }
  if (known && top_p < 1.f) {
    u64 wanted = (u64)ceil((double)top_p * (double)kept);
    known = find_token(d, x, usable, top, inverse, wanted > 0 ? wanted - 1 : 0, true);
    kept = d.before + d.own;
  }
  if (known) {
    u64 target = (u64)((double)u * (double)kept);
    known = find_token(d, x, usable, top, inverse, target < kept ? target : kept - 1, true);
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    int old = token[row];
    if (known) logprob[row] += x[d.found] - x[old];
    token[row] = known ? d.found : -1;
  }
}
