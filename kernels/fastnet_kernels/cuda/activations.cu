// bias_activation, activation, activation_backward, column_sum.
//
// Fused: the bias with its activation; a derivative with the product by the gradient. Never
// materialised: f'(z). Matrices have (rows, columns) elements, row after row; a block has a tile.
#include "codes.cuh"
#include "functions.cuh"
#include "kernel.cuh"
#include "real.cuh"
#include "teams.cuh"

// z (rows, columns) += bias (columns,), a (rows, columns) = f(z); a may be z.
KERNEL bias_activation(
    REAL* a, REAL* z, const REAL* __restrict__ bias,
    int activation, double alpha, int rows, int columns) {
  const int j = first_column();
  if (j >= columns) return;
  const REAL shift = bias[j];
  for (int i = first_row(); i < rows; i += rows_on()) {
    const long long at = (long long)i * columns + j;
    const REAL sum = z[at] + shift;
    if (a != z) z[at] = sum;
    a[at] = activate(sum, activation, REAL(alpha));
  }
}

// a (rows, columns) = f(z); a may be z. Softmax has kernels of its own.
KERNEL activation(
    REAL* a, const REAL* z, int activation, double alpha, int rows, int columns) {
  const int j = first_column();
  if (j >= columns) return;
  for (int i = first_row(); i < rows; i += rows_on()) {
    const long long at = (long long)i * columns + j;
    a[at] = activate(z[at], activation, REAL(alpha));
  }
}

// d (rows, columns) *= f'(z), from a (rows, columns) alone.
KERNEL activation_backward(
    REAL* __restrict__ d, const REAL* __restrict__ a,
    int activation, double alpha, int rows, int columns) {
  const int j = first_column();
  if (j >= columns) return;
  for (int i = first_row(); i < rows; i += rows_on()) {
    const long long at = (long long)i * columns + j;
    d[at] = slope_times(d[at], a[at], activation, REAL(alpha));
  }
}

// out (chunks, columns): row c is the sum of chunk c of the rows of d (rows, columns), plus itself
// if beta is 1. With one chunk that is the column sum; several are summed by a second launch. A
// block has 32 columns, whose eight partial sums are added in a fixed order.
KERNEL column_sum(
    REAL* __restrict__ out, const REAL* __restrict__ d, int beta, int rows, int columns, int chunk) {
  __shared__ REAL partial[TILE_ROWS][TILE_COLUMNS];
  const int j = first_column(), begin = block_y() * chunk;
  const int end = rows - begin < chunk ? rows : begin + chunk;
  REAL total = 0;
  if (j < columns) {
    for (int i = begin + tile_row(); i < end; i += TILE_ROWS) {
      total += d[(long long)i * columns + j];
    }
  }
  partial[tile_row()][tile_column()] = total;
  __syncthreads();
  if (tile_row() == 0 && j < columns) {
    #pragma unroll
    for (int k = 1; k < TILE_ROWS; ++k) total += partial[k][tile_column()];
    REAL* const place = out + (long long)block_y() * columns + j;
    *place = beta ? *place + total : total;
  }
}

// a (columns,) = exp(z - max z) / sum exp(z - max z); a may be z. Each member reads back only what
// it wrote itself.
template <class Team>
__device__ __forceinline__ void softmax_row(const Team& team, REAL* a, const REAL* z, int columns) {
  const REAL top = largest_of(team, z, columns);
  REAL total = 0;
  for (int j = team.member(); j < columns; j += team.size()) total += exp(z[j] - top);
  total = sum(team, total);
  for (int j = team.member(); j < columns; j += team.size()) a[j] = exp(z[j] - top) / total;
}

// a (rows, columns) = softmax of every row of z, a warp for each.
KERNEL softmax(
    REAL* a, const REAL* z, int rows, int columns) {
  const int i = row_of_warp();
  if (i >= rows) return;
  const long long at = (long long)i * columns;
  softmax_row(Warp(), a + at, z + at, columns);
}

// The same, a block for each.
KERNEL softmax_wide(
    REAL* a, const REAL* z, int rows, int columns) {
  __shared__ double shared[WARPS];
  const long long at = (long long)row_of_block() * columns;
  softmax_row(Block{shared}, a + at, z + at, columns);
}

// d (columns,) = a (d - sum d a): the Jacobian diag(a) - a a^T times d.
template <class Team>
__device__ __forceinline__ void softmax_backward_row(
    const Team& team, REAL* d, const REAL* a, int columns) {
  REAL dot = 0;
  for (int j = team.member(); j < columns; j += team.size()) dot += d[j] * a[j];
  dot = sum(team, dot);
  for (int j = team.member(); j < columns; j += team.size()) d[j] = (d[j] - dot) * a[j];
}

// d (rows, columns) *= the softmax's Jacobian, from a (rows, columns); a warp for each row.
KERNEL softmax_backward(
    REAL* __restrict__ d, const REAL* __restrict__ a, int rows, int columns) {
  const int i = row_of_warp();
  if (i >= rows) return;
  const long long at = (long long)i * columns;
  softmax_backward_row(Warp(), d + at, a + at, columns);
}

// The same, a block for each row.
KERNEL softmax_backward_wide(
    REAL* __restrict__ d, const REAL* __restrict__ a, int rows, int columns) {
  __shared__ double shared[WARPS];
  const long long at = (long long)row_of_block() * columns;
  softmax_backward_row(Block{shared}, d + at, a + at, columns);
}
