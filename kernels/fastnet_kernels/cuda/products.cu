// product and sum_slices: matrix products of small networks, where a BLAS has too few tiles.
//
// Fused: the product with what is done to each of its elements, its ending: a bias with an
// activation, or a derivative. Never materialised: transposed matrices. A block has a tile of the
// result, and of the sums over k all or a slice. Slices are added up by sum_slices, in their order,
// so that the result does not depend on which block was first.
#include "codes.cuh"
#include "functions.cuh"
#include "kernel.cuh"
#include "real.cuh"

#define SIDE 32          // of a tile of the result; k is gone through in pieces of as many
#define PER_THREAD 2     // rows and columns that each thread has of the tile
#define ROW_STEP (THREADS / SIDE)
#define LOADS (SIDE / ROW_STEP)  // elements of a piece that each thread loads

// What becomes of the elements v of a product (m, n).
//
// ENDS_PLAIN          out = v, and with beta 1 out += v
// ENDS_WITH_BIAS      z = v + beside_j, out = f(z); beside (n,), and z may be out
// ENDS_WITH_SLOPE     out = v f', with f' taken from beside (m, n)
struct Ending {
  REAL* out;
  REAL* z;
  const REAL* beside;
  int n, beta, kind, activation;
  REAL alpha;

  __device__ __forceinline__ void operator()(int i, int j, REAL v) const {
    const long long at = (long long)i * n + j;
    if (kind == ENDS_WITH_BIAS) {
      v += beside[j];
      if (z != out) z[at] = v;
      out[at] = activate(v, activation, alpha);
    } else if (kind == ENDS_WITH_SLOPE) {
      out[at] = slope_times(v, beside[at], activation, alpha);
    } else {
      out[at] = beta ? out[at] + v : v;
    }
  }
};

// A factor of a product as it lies in memory: rows of one index, whose elements go along the other.
// k is what is summed over, i the other one, a row or a column of the result.
struct Factor {
  const REAL* elements;
  int stride;     // elements from one row to the next
  bool along_k;   // whether the elements of a row go along k
  int size;       // of i

  // Load this thread's part of the piece (SIDE of k, SIDE of i) that begins at (k, i).
  __device__ __forceinline__ void load(REAL (&part)[LOADS], int k, int end, int i) const {
    const int across = thread() % SIDE;
    #pragma unroll
    for (int load = 0; load < LOADS; ++load) {
      const int down = thread() / SIDE + load * ROW_STEP;
      const int at_k = k + (along_k ? across : down), at_i = i + (along_k ? down : across);
      const long long row = along_k ? at_i : at_k;
      const bool is_inside = at_k < end && at_i < size;
      part[load] = is_inside ? elements[row * stride + (along_k ? at_k : at_i)] : REAL(0);
    }
  }

  // Put it where all threads of the block find it.
  __device__ __forceinline__ void store(
      REAL (&piece)[SIDE][SIDE + 1], const REAL (&part)[LOADS]) const {
    const int across = thread() % SIDE;
    #pragma unroll
    for (int load = 0; load < LOADS; ++load) {
      const int down = thread() / SIDE + load * ROW_STEP;
      piece[along_k ? across : down][along_k ? down : across] = part[load];
    }
  }
};

// op(a) (m, k) times op(b) (k, n), where a lies as (k, m) if transposed_a and b as (n, k) if
// transposed_b, in rows columns_a and columns_b elements apart. Blocks (across n, down m times
// slices): the block's slice of k is slice long. Several slices are (slices, m, n) in out, plain.
KERNEL product(
    REAL* out, REAL* z, const REAL* __restrict__ a, const REAL* __restrict__ b, const REAL* beside,
    int m, int n, int k, int columns_a, int columns_b, int transposed_a, int transposed_b, int beta,
    int ending, int activation, double alpha, int slice) {
  __shared__ REAL left[SIDE][SIDE + 1], right[SIDE][SIDE + 1];
  const int tiles = (m + SIDE - 1) / SIDE;
  const int first_i = block_y() % tiles * SIDE, first_j = block_x() * SIDE;
  const int number = block_y() / tiles, begin = number * slice;
  const int end = k - begin < slice ? k : begin + slice;
  const Factor of_a{a, columns_a, !transposed_a, m}, of_b{b, columns_b, transposed_b != 0, n};
  const int mine_i = thread() / (SIDE / PER_THREAD) * PER_THREAD;
  const int mine_j = thread() % (SIDE / PER_THREAD) * PER_THREAD;

  REAL sums[PER_THREAD][PER_THREAD] = {}, part_a[LOADS], part_b[LOADS];
  of_a.load(part_a, begin, end, first_i);
  of_b.load(part_b, begin, end, first_j);
  for (int piece = begin; piece < end; piece += SIDE) {
    __syncthreads();  // the piece before may still be read
    of_a.store(left, part_a);
    of_b.store(right, part_b);
    __syncthreads();
    // The next piece is on its way while this one is worked on; behind the last one all is 0.
    of_a.load(part_a, piece + SIDE, end, first_i);
    of_b.load(part_b, piece + SIDE, end, first_j);
    #pragma unroll 8
    for (int p = 0; p < SIDE; ++p) {
      #pragma unroll
      for (int i = 0; i < PER_THREAD; ++i) {
        #pragma unroll
        for (int j = 0; j < PER_THREAD; ++j) {
          sums[i][j] += left[p][mine_i + i] * right[p][mine_j + j];
        }
      }
    }
  }

  REAL* const place = out + (long long)number * m * n;
  const Ending finish{place, z, beside, n, beta, ending, activation, REAL(alpha)};
  #pragma unroll
  for (int i = 0; i < PER_THREAD; ++i) {
    #pragma unroll
    for (int j = 0; j < PER_THREAD; ++j) {
      const int at_i = first_i + mine_i + i, at_j = first_j + mine_j + j;
      if (at_i < m && at_j < n) finish(at_i, at_j, sums[i][j]);
    }
  }
}

// The ending of a product whose slices are parts (slices, m, n).
KERNEL sum_slices(
    REAL* out, REAL* z, const REAL* __restrict__ parts, const REAL* beside, int m, int n,
    int slices, int beta, int ending, int activation, double alpha) {
  const Ending finish{out, z, beside, n, beta, ending, activation, REAL(alpha)};
  const int j = first_column();
  if (j >= n) return;
  for (int i = first_row(); i < m; i += rows_on()) {
    REAL total = 0;
    for (int number = 0; number < slices; ++number) {
      total += parts[((long long)number * m + i) * n + j];
    }
    finish(i, j, total);
  }
}
