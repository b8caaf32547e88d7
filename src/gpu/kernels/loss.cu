// Losses over rows of logits, and the choice of a token.

// A row of F32 logits becomes its gradient in 16 bits, from the row's start on: what is written lies
// before what is still to be read once every thread has read its part. `gradient` gets logits and
// returns their gradient, of the eight from i on.
template <typename F> DEVICE void write_gradient(float *x, int n, F gradient) {
  int step = blockDim.x * 8;
  for (int from = 0; from < n; from += step) {
    int i = from + threadIdx.x * 8;
    float v[8];
    if (i < n) read8(x, i, 1, v);
    __syncthreads();
    if (i >= n) continue;
    gradient(i, v);
    for (int j = 0; j < 8; j++)
      if (i + j >= n) v[j] = 0.f;
    write8_half((hf *)x, i, v);
  }
}

// The largest of a row of logits, and the sum of exp(logit - largest).
DEVICE void top_and_sum(const float *x, int n, float *room, float *top_out, float *sum_out) {
  float top = -3e38f, sum = 0.f;
  for (int i = threadIdx.x * 8; i < n; i += blockDim.x * 8) {
    float v[8], m = top;
    read8(x, i, 1, v);
    for (int j = 0; j < 8; j++)
      if (i + j < n) m = fmaxf(m, v[j]);
    sum *= __expf(top - m);
    top = m;
    for (int j = 0; j < 8; j++)
      if (i + j < n) sum += __expf(v[j] - top);
  }
  float m = block_max(top, room);
  *top_out = m;
  *sum_out = block_sum(sum * __expf(top - m), room);
}

// Cross-entropy against a label; the logits become its gradient times `weight`, unless that is 0.
KERNEL cross_entropy_rows(float *logits, const u32 *labels, float *loss, int n, int stride,
                          float weight) {
  __shared__ float room[32];
  float *x = logits + (u64)blockIdx.x * stride, top, sum;
  int label = labels[blockIdx.x];
  float target = x[label];
  top_and_sum(x, n, room, &top, &sum);
  float r = 1.f / sum;
  if (threadIdx.x == 0) loss[blockIdx.x] = top + logf(sum) - target;
  if (weight == 0.f) return;
  write_gradient(x, n, [=](int i, float *v) {
    for (int j = 0; j < 8; j++)
      v[j] = (__expf(v[j] - top) * r - (i + j == label ? 1.f : 0.f)) * weight;
  });
}

// KL(softmax(target) || softmax(logits)); the logits become its gradient times `weight`.
KERNEL divergence_rows(float *logits, const float *target, float *loss, int n, int stride,
                       float weight) {
  __shared__ float room[32];
  float *x = logits + (u64)blockIdx.x * stride;
  const float *t = target + (u64)blockIdx.x * stride;
  float x_top, x_sum, t_top, t_sum, nats = 0.f;
  top_and_sum(x, n, room, &x_top, &x_sum);
  top_and_sum(t, n, room, &t_top, &t_sum);
  float x_log = x_top + logf(x_sum), t_log = t_top + logf(t_sum);
  write_gradient(x, n, [&](int i, float *v) {
    float w[8];
    read8(t, i, 1, w);
    for (int j = 0; j < 8; j++) {
      if (i + j >= n) break;
      float q = v[j] - x_log, p = w[j] - t_log, mass = __expf(p);
      nats += mass * (p - q);
      v[j] = (__expf(q) - mass) * weight;
    }
  });
  nats = block_sum(nats, room);
  if (threadIdx.x == 0) loss[blockIdx.x] = fmaxf(nats, 0.f);
}

// Of each row of F32 logits: the token asked for, or with -1 the likeliest of the first `usable`,
// the lowest on a tie; and its log-probability over all.
KERNEL choose_rows(const float *logits, const int *asked, int *token, float *logprob, int n,
                   int stride, int usable) {
  take_turn();
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
