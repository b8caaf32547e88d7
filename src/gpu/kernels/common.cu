// What all kernels share. Compiled at run time by NVRTC, without any header.
//
// hf, a number of 16 bits, is a word here: bf16, or half precision where FLOAT16 is 1. Arithmetic is
// in F32.
typedef unsigned short hf;
typedef unsigned int u32;
typedef unsigned long long u64;

#define DEVICE __device__ __forceinline__
#define KERNEL extern "C" __global__ void

#if FLOAT16
#define HF "f16"
DEVICE float wide(hf x) {
  float r;
  asm("cvt.f32.f16 %0, %1;" : "=f"(r) : "h"(x));
  return r;
}
#else
#define HF "bf16"
DEVICE float wide(hf x) { return __uint_as_float(((u32)x) << 16); }
#endif
DEVICE hf narrow(float f) {
  hf r;
  asm("cvt.rn." HF ".f32 %0, %1;" : "=h"(r) : "f"(f));
  return r;
}
// Two numbers in one register, `low` in the lower half.
DEVICE u32 pack(float low, float high) {
  u32 r;
  asm("cvt.rn." HF "x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
// Two numbers as half precision in one register: queries and keys are always held so, because their
// scores cancel and bf16 would leave an error that softmax makes large. Larger numbers than it has
// are cut.
DEVICE u32 pack_f16(float low, float high) {
  u32 r;
  low = fminf(fmaxf(low, -65504.f), 65504.f);
  high = fminf(fmaxf(high, -65504.f), 65504.f);
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
// A register of two numbers of half precision as the model has them.
DEVICE u32 f16_to_half(u32 x) {
#if FLOAT16
  return x;
#else
  float low, high;
  asm("{.reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b;}"
      : "=f"(low), "=f"(high)
      : "r"(x));
  return pack(low, high);
#endif
}
union Eight {
  uint4 v;
  hf h[8];
};

DEVICE float warp_sum(float v) {
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  return v;
}
DEVICE float warp_max(float v) {
  for (int o = 16; o; o >>= 1) v = fmaxf(v, __shfl_xor_sync(~0u, v, o));
  return v;
}
// The sum over a block in a fixed order. `room` holds 32 numbers.
DEVICE float block_sum(float v, float *room) {
  v = warp_sum(v);
  __syncthreads();
  if ((threadIdx.x & 31) == 0) room[threadIdx.x >> 5] = v;
  __syncthreads();
  float t = (threadIdx.x & 31) < (blockDim.x >> 5) ? room[threadIdx.x & 31] : 0.f;
  return warp_sum(t);
}
DEVICE float block_max(float v, float *room) {
  v = warp_max(v);
  __syncthreads();
  if ((threadIdx.x & 31) == 0) room[threadIdx.x >> 5] = v;
  __syncthreads();
  float t = (threadIdx.x & 31) < (blockDim.x >> 5) ? room[threadIdx.x & 31] : -3e38f;
  return warp_max(t);
}

DEVICE u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }
DEVICE u32 shared_word(u32 at) {
  u32 r;
  asm volatile("ld.shared.b32 %0, [%1];" : "=r"(r) : "r"(at) : "memory");
  return r;
}
DEVICE void set_shared_word(u32 at, u32 v) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(at), "r"(v) : "memory");
}
// 16 bytes from global to shared memory, or zeros.
DEVICE void copy16(u32 to, const void *from, bool valid) {
  int bytes = valid ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(bytes));
}
// The same of 4 bytes.
DEVICE void copy4(u32 to, const void *from, bool valid) {
  int bytes = valid ? 4 : 0;
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(bytes));
}
DEVICE void copy_commit() { asm volatile("cp.async.commit_group;"); }
template <int LEFT> DEVICE void copy_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT)); }

DEVICE void load4(u32 *r, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
DEVICE void load4_turned(u32 *r, u32 address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(address)
               : "memory");
}
// c[16x8] += a[16x16] b[16x8]
DEVICE void multiply(float *c, const u32 *a, u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." HF "." HF ".f32 {%0,%1,%2,%3}, "
               "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// The same of half-precision operands.
DEVICE void multiply_f16(float *c, const u32 *a, u32 b0, u32 b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, "
               "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
DEVICE float exp2_fast(float x) {
  float r;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(x));
  return r;
}

// Lets a kernel that was launched to overlap with this one start: it waits for this one's results
// itself, after it has begun to read what does not depend on them. To be called after this one has
// waited: the next counts on what came before this one.
DEVICE void let_next_start() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
DEVICE void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
// Where a kernel begins that may be launched early and reads nothing ahead.
DEVICE void take_turn() {
  wait_for_previous();
  let_next_start();
}
// Bits that look random, a function of seed and place: SplitMix64 (Steele and others, 2014), whose last
// step mixes the lower ones, and is the caller's.
DEVICE u64 scrambled(u64 i, u64 seed) {
  u64 z = i * 0x9E3779B97F4A7C15ull + seed;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  return (z ^ (z >> 27)) * 0x94D049BB133111EBull;
}
