// The gated activation with the product before it, and its gradient with the product before that, in
// one kernel each, on Hopper: it is formed from the product's sums while they are in registers,
// instead of by a kernel of its own that reads them again. A low-rank product `t b` is further
// numbers of the inner dimension. Tiles and slots are those of the ring.

#if WARP_GROUPS
DEVICE void gate_product(const TensorMap *x, const TensorMap *weight, const TensorMap *t,
                         const TensorMap *gate_b, const TensorMap *up_b, hf *gate_up, hf *active,
                         int rows, int n, int row_pairs, int columns, int steps, int sixteens,
                         int gate_first, int up_first) {
  extern __shared__ __align__(1024) unsigned char room[];
  Ring ring(shared_address(room));
  ring.start();
  int rank = cluster_rank(), group = (int)threadIdx.x / 128 - 1, pairs = row_pairs * columns;
  if (group < 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == 0) {
      for (int pair = blockIdx.x / 2; pair < pairs; pair += gridDim.x / 2) {
        int2 tile = pair_of_tiles(pair, row_pairs, columns, 128);
        int row = tile.x + rank * 128;
        for (int k = 0; k < steps; k++, ring.next()) {
          ring.take(SLOT);
          fetch(ring.data(), x, k * 64, row, ring.full());
          fetch_half_for_both(ring.panel(2 + 2 * rank), weight, k * 64, tile.y, rank, ring.full());
        }
        for (int k = 0; k * 4 < sixteens; k++, ring.next()) {
          ring.take(SLOT);
          fetch(ring.data(), t, k * 64, row, ring.full());
          // Where a half's part of t does not stand there are no rows of its b, which gives zeros.
          for (int i = 0; i < 2; i++)
            fetch_for_both(ring.panel(2 + 2 * rank + i), rank ? up_b : gate_b, tile.y + i * 64,
                           k * 64 - (rank ? up_first : gate_first), ring.full());
        }
      }
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    Reader at(ring, group);
    // 128 columns of gates, then of ups.
    float c[128];
    for (int pair = blockIdx.x / 2; pair < pairs; pair += gridDim.x / 2) {
      int2 tile = pair_of_tiles(pair, row_pairs, columns, 128);
      for (int k = 0; k < steps; k++) multiply<false>(at, c, k == 0);
      for (int k = sixteens; k > 0; k -= 4) multiply_some(at, c, k < 4 ? k : 4);
      products_wait<0>();
      at.settle();
      // Each lane writes 16 bytes of one row, so that a quad's lanes fill whole sectors.
      int col = tile.y + (threadIdx.x & 3) * 8;
#pragma unroll
      for (int r = 0; r < 2; r++) {
        u64 row = tile.x + rank * 128 + group * 64 + row_in_group() + r * 8;
#pragma unroll
        for (int m = 0; m < 4; m++) {
          u32 gates[4], ups[4], results[4];
#pragma unroll
          for (int i = 0; i < 4; i++) {
            const float *of = c + (m * 4 + i) * 4 + r * 2;
            u32 g = gates[i] = pack(of[0], of[1]), u = ups[i] = pack(of[64], of[65]);
            results[i] = pack(gated(wide((hf)g), wide((hf)u)),
                              gated(wide((hf)(g >> 16)), wide((hf)(u >> 16))));
          }
          turn_in_quad(gates);
          turn_in_quad(ups);
          turn_in_quad(results);
          int at_col = col + m * 32;
          if (row >= rows || at_col >= n) continue;
          write16(gate_up + row * 2 * n + at_col, gates);
          write16(gate_up + row * 2 * n + n + at_col, ups);
          write16(active + row * n + at_col, results);
        }
      }
    }
  }
  __syncwarp();
  cluster_sync();
}

DEVICE void gate_gradient_product(const TensorMap *dy, const TensorMap *weight,
                                  const TensorMap *dt, const TensorMap *a,
                                  const TensorMap *gate_up, const TensorMap *d, int row_pairs,
                                  int columns, int steps, int sixteens) {
  extern __shared__ __align__(1024) unsigned char room[];
  Ring ring(shared_address(room));
  ring.start();
  int rank = cluster_rank(), group = (int)threadIdx.x / 128 - 1, pairs = row_pairs * columns;
  if (group < 0) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == 0) {
      for (int pair = blockIdx.x / 2; pair < pairs; pair += gridDim.x / 2) {
        int2 tile = pair_of_tiles(pair, row_pairs, columns, 256);
        int row = tile.x + rank * 128;
        for (int k = 0; k < steps + (sixteens + 3) / 4; k++, ring.next()) {
          bool own = k < steps;
          int inner = (own ? k : k - steps) * 64;
          ring.take(SLOT);
          fetch(ring.data(), own ? dy : dt, inner, row, ring.full());
          for (int i = rank * 2; i < rank * 2 + 2; i++)
            fetch_for_both(ring.panel(2 + i), own ? weight : a, tile.y + i * 64, inner,
                           ring.full());
        }
        for (int e = 0; e < 4; e++, ring.next()) {
          ring.take(4 * PANEL);
          for (int half = 0; half < 2; half++)
            fetch_half(ring.panel(half * 2), gate_up, tile.y + e * 64, row, half, ring.full());
        }
      }
    }
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    Reader at(ring, group);
    int lane = threadIdx.x & 31;
    float c[128];
    for (int pair = blockIdx.x / 2; pair < pairs; pair += gridDim.x / 2) {
      int2 tile = pair_of_tiles(pair, row_pairs, columns, 256);
      int row = tile.x + rank * 128 + group * 64;
      for (int k = 0; k < steps; k++) multiply<true>(at, c, k == 0);
      for (int k = sixteens; k > 0; k -= 4) multiply_some(at, c, k < 4 ? k : 4);
      products_wait<0>();
      at.settle();
#pragma unroll
      for (int e = 0; e < 4; e++) {
        at.ring.ready();
        u32 panel = at.ring.panel(group) + row_in_group() * 128 + (lane & 3) * 4;
#pragma unroll
        for (int j = 0; j < 8; j++) {
#pragma unroll
          for (int r = 0; r < 2; r++) {
            u32 gates = panel + r * 1024 + ((j ^ (lane / 4)) << 4), ups = gates + 2 * PANEL;
            u32 g = shared_word(gates), u = shared_word(ups);
            const float *of = c + (e * 8 + j) * 4 + r * 2;
            float dg[2], du[2];
            gate_gradient(wide((hf)g), wide((hf)u), of[0], dg, du);
            gate_gradient(wide((hf)(g >> 16)), wide((hf)(u >> 16)), of[1], dg + 1, du + 1);
            set_shared_word(gates, pack(dg[0], dg[1]));
            set_shared_word(ups, pack(du[0], du[1]));
          }
        }
        show_products();
        sync_group(group);
        if (at.one) {
          for (int half = 0; half < 2; half++)
            put_half(d, tile.y + e * 64, row, half, at.ring.panel(half * 2 + group));
          put_commit();
          // The slot before is given back next.
          if (e) put_wait<1>();
        }
        at.next();
      }
    }
    if (at.one) put_wait<0>();
  }
  __syncwarp();
  cluster_sync();
}
#else
DEVICE void gate_product(const TensorMap *, const TensorMap *, const TensorMap *,
                         const TensorMap *, const TensorMap *, hf *, hf *, int, int, int, int,
                         int, int, int, int) {}
DEVICE void gate_gradient_product(const TensorMap *, const TensorMap *, const TensorMap *,
                                  const TensorMap *, const TensorMap *, const TensorMap *, int,
                                  int, int, int) {}
#endif

// [gate | up] = x W^T + t b, and silu(gate) * up. t has the low-rank parts' columns side by side,
// `sixteens` times 16 of them; `gate_first` and `up_first` are where theirs begin.
KERNEL PAIRED gate_product_rows(
    const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap weight,
    const __grid_constant__ TensorMap t, const __grid_constant__ TensorMap gate_b,
    const __grid_constant__ TensorMap up_b, hf *gate_up, hf *active, int rows, int n,
    int row_pairs, int columns, int steps, int sixteens, int gate_first, int up_first) {
  gate_product(&x, &weight, &t, &gate_b, &up_b, gate_up, active, rows, n, row_pairs, columns,
               steps, sixteens, gate_first, up_first);
}

// d [gate | up] of silu(gate) * up, given the gradient of that as dy W + dt a.
KERNEL PAIRED gate_product_backward(
    const __grid_constant__ TensorMap dy, const __grid_constant__ TensorMap weight,
    const __grid_constant__ TensorMap dt, const __grid_constant__ TensorMap a,
    const __grid_constant__ TensorMap gate_up, const __grid_constant__ TensorMap d, int row_pairs,
    int columns, int steps, int sixteens) {
  gate_gradient_product(&dy, &weight, &dt, &a, &gate_up, &d, row_pairs, columns, steps, sixteens);
}
