// gather_features and gather_targets, and take_rows: the rows of a batch, in the epoch's order.
//
// Fused: the permutation, the conversion from bytes and the scaling; one-hot rows are written
// straight from class indices. Never materialised: the data in another dtype or order. Row i of the
// batch is row order[clock[ROW] + first + i] of the data. Thread x of a block has a column, thread y
// a row of the batch.
#include "codes.cuh"
#include "real.cuh"

template <class Source>
__device__ __forceinline__ void gather_scaled(
    REAL* x, const Source* features, const int* order, const long long* clock,
    int first, double scale, int rows, int columns) {
  const int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= columns) return;
  const int* const of_batch = order + clock[ROW] + first;
  for (int i = blockIdx.y * blockDim.y + threadIdx.y; i < rows; i += gridDim.y * blockDim.y) {
    const Source value = features[(long long)of_batch[i] * columns + j];
    x[(long long)i * columns + j] = REAL(value) * REAL(scale);
  }
}

// x (rows, columns); features (all rows, columns); order (all rows,); clock (CLOCK,).
extern "C" __global__ void __launch_bounds__(256, 1) gather_features(
    REAL* __restrict__ x, const REAL* __restrict__ features, const int* __restrict__ order,
    const long long* __restrict__ clock, int first, double scale, int rows, int columns) {
  gather_scaled(x, features, order, clock, first, scale, rows, columns);
}

// The same from bytes.
extern "C" __global__ void __launch_bounds__(256, 1) gather_features_bytes(
    REAL* __restrict__ x, const unsigned char* __restrict__ features,
    const int* __restrict__ order, const long long* __restrict__ clock,
    int first, double scale, int rows, int columns) {
  gather_scaled(x, features, order, clock, first, scale, rows, columns);
}

// The weight of row i of the batch, written by the thread of its first column: 1 where all are.
__device__ __forceinline__ void gather_weight(
    REAL* w, const REAL* weights, int has_weights, int source, int i, int j) {
  if (j == 0) w[i] = has_weights ? weights[source] : REAL(1);
}

// t (rows, columns), w (rows,); targets (all rows, columns); weights (all rows,), or empty.
extern "C" __global__ void __launch_bounds__(256, 1) gather_targets(
    REAL* __restrict__ t, REAL* __restrict__ w, const REAL* __restrict__ targets,
    const REAL* __restrict__ weights, int has_weights, const int* __restrict__ order,
    const long long* __restrict__ clock, int first, int rows, int columns) {
  const int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= columns) return;
  const int* const of_batch = order + clock[ROW] + first;
  for (int i = blockIdx.y * blockDim.y + threadIdx.y; i < rows; i += gridDim.y * blockDim.y) {
    const int source = of_batch[i];
    t[(long long)i * columns + j] = targets[(long long)source * columns + j];
    gather_weight(w, weights, has_weights, source, i, j);
  }
}

// The same from class indices (all rows,): one-hot rows, or with one column the index itself.
extern "C" __global__ void __launch_bounds__(256, 1) gather_targets_classes(
    REAL* __restrict__ t, REAL* __restrict__ w, const int* __restrict__ targets,
    const REAL* __restrict__ weights, int has_weights, const int* __restrict__ order,
    const long long* __restrict__ clock, int first, int rows, int columns) {
  const int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= columns) return;
  const int* const of_batch = order + clock[ROW] + first;
  for (int i = blockIdx.y * blockDim.y + threadIdx.y; i < rows; i += gridDim.y * blockDim.y) {
    const int source = of_batch[i], index = targets[source];
    t[(long long)i * columns + j] = columns == 1 ? REAL(index) : REAL(index == j);
    gather_weight(w, weights, has_weights, source, i, j);
  }
}

// out (rows, width) bytes = the rows index (rows,) of a matrix whose rows are width bytes long.
extern "C" __global__ void __launch_bounds__(256, 1) take_rows(
    unsigned char* __restrict__ out, const unsigned char* __restrict__ source,
    const int* __restrict__ index, int rows, int width) {
  const int j = blockIdx.x * blockDim.x + threadIdx.x;
  if (j >= width) return;
  for (int i = blockIdx.y * blockDim.y + threadIdx.y; i < rows; i += gridDim.y * blockDim.y) {
    out[(long long)i * width + j] = source[(long long)index[i] * width + j];
  }
}
