// bias_activation, activation, activation_backward, column_sum.
//
// Fused: the bias with its activation; a derivative with the product by the gradient. Never
// materialised: f'(z). Matrices have (rows, columns) elements, row after row; thread x of a block
// has a column, thread y a row, so that a warp reads adjacent elements and nothing is divided.
#include "codes.cuh"
#include "real.cuh"
#include "teams.cuh"

__device__ __forceinline__ REAL activate(REAL z, int activation, REAL alpha) {
  switch (activation) {
    case SIGMOID: return REAL(1) / (REAL(1) + exp(-z));
    case TANH: return tanh(z);
    case RELU: return z < REAL(0) ? REAL(0) : z;  // in this order NaN stays NaN
    case LEAKY_RELU: return z > REAL(0) ? z : z * alpha;
    case ELU: return z > REAL(0) ? z : alpha * expm1(z);
    default: return z;
  }
}

// d f'(z), with f' taken from a = f(z).
__device__ __forceinline__ REAL slope_times(REAL d, REAL a, int activation, REAL alpha) {
  switch (activation) {
    case SIGMOID: return d * (a * (REAL(1) - a));
    case TANH: return d * ((REAL(1) - a) * (REAL(1) + a));
    case RELU: return a <= REAL(0) ? REAL(0) : d;
    case LEAKY_RELU: return a <= REAL(0) ? d * alpha : d;
    case ELU: return a <= REAL(0) ? d * (a + alpha) : d;
    default: return d;
  }
}

// z (rows, columns) += bias (columns,), a (rows, columns) = f(z); a may be z.
extern "C" __global__ void __launch_bounds__(256, 1) bias_activation(
    REAL* a, REAL* z, const REAL* __restrict__ bias,
    int activation, double alpha, int rows, int columns) {
  const int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= columns) return;
  const REAL shift = bias[j];
  for (int i = blockIdx.y * blockDim.y + threadIdx.y; i < rows; i += gridDim.y * blockDim.y) {
    const long long at = (long long)i * columns + j;
    const REAL sum = z[at] + shift;
    if (a != z) z[at] = sum;
    a[at] = activate(sum, activation, REAL(alpha));
  }
}

// a (rows, columns) = f(z); a may be z. Softmax has kernels of its own.
extern "C" __global__ void __launch_bounds__(256, 1) activation(
    REAL* a, const REAL* z, int activation, double alpha, int rows, int columns) {
  const int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= columns) return;
  for (int i = blockIdx.y * blockDim.y + threadIdx.y; i < rows; i += gridDim.y * blockDim.y) {
    const long long at = (long long)i * columns + j;
    a[at] = activate(z[at], activation, REAL(alpha));
  }
}

// d (rows, columns) *= f'(z), from a (rows, columns) alone.
extern "C" __global__ void __launch_bounds__(256, 1) activation_backward(
    REAL* __restrict__ d, const REAL* __restrict__ a,
    int activation, double alpha, int rows, int columns) {
  const int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= columns) return;
  for (int i = blockIdx.y * blockDim.y + threadIdx.y; i < rows; i += gridDim.y * blockDim.y) {
    const long long at = (long long)i * columns + j;
    d[at] = slope_times(d[at], a[at], activation, REAL(alpha));
  }
}

// out (chunks, columns): row c is the sum of chunk c of the rows of d (rows, columns), plus itself
// if beta is 1. With one chunk that is the column sum; several are summed by a second launch. The
// block (32, 8) has 32 columns, whose eight partial sums are added in a fixed order.
extern "C" __global__ void __launch_bounds__(256, 1) column_sum(
    REAL* __restrict__ out, const REAL* __restrict__ d, int beta, int rows, int columns, int chunk) {
  __shared__ REAL partial[8][32];
  const int j = blockIdx.x * 32 + threadIdx.x, begin = blockIdx.y * chunk;
  const int end = rows - begin < chunk ? rows : begin + chunk;
  REAL total = 0;
  if (j < columns) {
    for (int i = begin + threadIdx.y; i < end; i += 8) total += d[(long long)i * columns + j];
  }
  partial[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  if (threadIdx.y == 0 && j < columns) {
    #pragma unroll
    for (int k = 1; k < 8; ++k) total += partial[k][threadIdx.x];
    REAL* const place = out + (long long)blockIdx.y * columns + j;
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
extern "C" __global__ void __launch_bounds__(256, 1) softmax(
    REAL* a, const REAL* z, int rows, int columns) {
  const int i = row_of_warp();
  if (i >= rows) return;
  const long long at = (long long)i * columns;
  softmax_row(Warp(), a + at, z + at, columns);
}

// The same, a block for each.
extern "C" __global__ void __launch_bounds__(256, 1) softmax_wide(
    REAL* a, const REAL* z, int rows, int columns) {
  __shared__ double shared[32];
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
extern "C" __global__ void __launch_bounds__(256, 1) softmax_backward(
    REAL* __restrict__ d, const REAL* __restrict__ a, int rows, int columns) {
  const int i = row_of_warp();
  if (i >= rows) return;
  const long long at = (long long)i * columns;
  softmax_backward_row(Warp(), d + at, a + at, columns);
}

// The same, a block for each row.
extern "C" __global__ void __launch_bounds__(256, 1) softmax_backward_wide(
    REAL* __restrict__ d, const REAL* __restrict__ a, int rows, int columns) {
  __shared__ double shared[32];
  const long long at = (long long)row_of_block() * columns;
  softmax_backward_row(Block{shared}, d + at, a + at, columns);
}
