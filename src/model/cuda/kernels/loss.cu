// Losses over rows of logits, and the choice of a token.

// Cross-entropy against a label; the logits become its gradient times `weight`.
KERNEL cross_entropy_rows(bf *logits, const u32 *labels, float *loss, int n, int stride,
                          float weight) {
  __shared__ float room[32];
  bf *x = logits + (u64)blockIdx.x * stride;
  u32 label = labels[blockIdx.x];
  float target = wide(x[label]), top = -3e38f, sum = 0.f;
  for (int i = threadIdx.x * 8; i < n; i += blockDim.x * 8) {
    Eight a;
    a.v = *(const uint4 *)(x + i);
    float m = top;
    for (int j = 0; j < 8; j++)
      if (i + j < n) m = fmaxf(m, wide(a.h[j]));
    sum *= __expf(top - m);
    top = m;
    for (int j = 0; j < 8; j++)
      if (i + j < n) sum += __expf(wide(a.h[j]) - top);
  }
  float m = block_max(top, room);
  sum = block_sum(sum * __expf(top - m), room);
  float r = 1.f / sum;
  if (threadIdx.x == 0) loss[blockIdx.x] = m + logf(sum) - target;
  if (weight == 0.f) return;
  for (int i = threadIdx.x * 8; i < n; i += blockDim.x * 8) {
    Eight a;
    a.v = *(const uint4 *)(x + i);
    for (int j = 0; j < 8; j++) {
      float p = __expf(wide(a.h[j]) - m) * r - (i + j == (int)label ? 1.f : 0.f);
      a.h[j] = i + j < n ? narrow(p * weight) : (bf)0;
    }
    *(uint4 *)(x + i) = a.v;
  }
}

DEVICE void top_and_sum(const bf *x, int n, float *room, float *top_out, float *sum_out) {
  float top = -3e38f, sum = 0.f;
  for (int i = threadIdx.x; i < n; i += blockDim.x) top = fmaxf(top, wide(x[i]));
  top = block_max(top, room);
  for (int i = threadIdx.x; i < n; i += blockDim.x) sum += __expf(wide(x[i]) - top);
  *top_out = top;
  *sum_out = block_sum(sum, room);
}

// KL(softmax(target) || softmax(logits)); the logits become its gradient times `weight`.
KERNEL divergence_rows(bf *logits, const bf *target, float *loss, int n, int stride, float weight) {
  __shared__ float room[32];
  bf *x = logits + (u64)blockIdx.x * stride;
  const bf *t = target + (u64)blockIdx.x * stride;
  float x_top, x_sum, t_top, t_sum, nats = 0.f;
  top_and_sum(x, n, room, &x_top, &x_sum);
  top_and_sum(t, n, room, &t_top, &t_sum);
  float x_log = x_top + logf(x_sum), t_log = t_top + logf(t_sum);
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    float q = wide(x[i]) - x_log, p = wide(t[i]) - t_log, mass = __expf(p);
    nats += mass * (p - q);
    x[i] = narrow((__expf(q) - mass) * weight);
  }
  nats = block_sum(nats, room);
  if (threadIdx.x == 0) loss[blockIdx.x] = fmaxf(nats, 0.f);
}

// Of each row of F32 logits: the token asked for, or with -1 the likeliest of the first `usable`,
// the lowest on a tie; and its log-probability over all.
KERNEL choose_rows(const float *logits, const int *asked, int *token, float *logprob, int n,
                   int stride, int usable) {
  __shared__ float room[32];
  __shared__ int ids[32];
  const float *x = logits + (u64)blockIdx.x * stride;
  float top = -3e38f, best = -3e38f, sum = 0.f;
  int id = 0x7fffffff;
  // Rows begin on 16 bytes; numbers past the last stand for nothing.
#pragma unroll 2
  for (int i = threadIdx.x * 4; i < n; i += blockDim.x * 4) {
    float4 four = *(const float4 *)(x + i);
    float v[4] = {four.x, four.y, four.z, four.w};
    float m = top;
#pragma unroll
    for (int j = 0; j < 4; j++) {
      if (i + j >= n) v[j] = -3e38f;
      m = fmaxf(m, v[j]);
      if (i + j < usable && (v[j] > best || id == 0x7fffffff)) {
        best = v[j];
        id = i + j;
      }
    }
    sum *= __expf(top - m);
    top = m;
#pragma unroll
    for (int j = 0; j < 4; j++) sum += __expf(v[j] - m);
  }
  float m = block_max(top, room);
  sum = block_sum(sum * __expf(top - m), room);
  for (int o = 16; o; o >>= 1) {
    float other = __shfl_xor_sync(~0u, best, o);
    int other_id = __shfl_xor_sync(~0u, id, o);
    if (other > best || (other == best && other_id < id)) {
      best = other;
      id = other_id;
    }
  }
  __syncthreads();
  if ((threadIdx.x & 31) == 0) {
    room[threadIdx.x >> 5] = best;
    ids[threadIdx.x >> 5] = id;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    for (int w = 1; w < (int)(blockDim.x >> 5); w++)
      if (room[w] > best || (room[w] == best && ids[w] < id)) {
        best = room[w];
        id = ids[w];
      }
    int wanted = asked[blockIdx.x];
    if (wanted < 0) wanted = id;
    token[blockIdx.x] = wanted;
    logprob[blockIdx.x] = x[wanted] - m - logf(sum);
  }
}
