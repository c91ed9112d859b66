// gather_features and gather_targets, and take_rows: the rows of a batch, in the epoch's order.
//
// Fused: the permutation, the conversion from bytes and the scaling; one-hot rows are written
// straight from class indices. Never materialised: the data in another dtype or order. Row i of the
// batch is row order[clock[ROW] + first + i] of the data. A block has a tile of it.
#include "codes.cuh"
#include "kernel.cuh"
#include "real.cuh"

template <class Source>
__device__ __forceinline__ void gather_scaled(
    REAL* x, const Source* features, const int* order, const long long* clock,
    int first, double scale, int rows, int columns) {
  const int j = first_column();
  if (j >= columns) return;
  const int* const of_batch = order + clock[ROW] + first;
  for (int i = first_row(); i < rows; i += rows_on()) {
    const Source value = features[(long long)of_batch[i] * columns + j];
    x[(long long)i * columns + j] = REAL(value) * REAL(scale);
  }
}

// x (rows, columns); features (all rows, columns); order (all rows,); clock (CLOCK,).
KERNEL gather_features(
    REAL* __restrict__ x, const REAL* __restrict__ features, const int* __restrict__ order,
    const long long* __restrict__ clock, int first, double scale, int rows, int columns) {
  gather_scaled(x, features, order, clock, first, scale, rows, columns);
}

// The same from bytes.
KERNEL gather_features_bytes(
    REAL* __restrict__ x, const unsigned char* __restrict__ features,
    const int* __restrict__ order, const long long* __restrict__ clock,
    int first, double scale, int rows, int columns) {
  gather_scaled(x, features, order, clock, first, scale, rows, columns);
}

// What row source of the data has in column j of its targets: a number, or one of class indices.
__device__ __forceinline__ REAL target(const REAL* targets, int source, int columns, int j) {
  return targets[(long long)source * columns + j];
}

// Class indices stand for one-hot rows, or with one column for themselves.
__device__ __forceinline__ REAL target(const int* targets, int source, int columns, int j) {
  return columns == 1 ? REAL(targets[source]) : REAL(targets[source] == j);
}

template <class Target>
__device__ __forceinline__ void gather_weighted(
    REAL* t, REAL* w, const Target* targets, const REAL* weights, int has_weights,
    const int* order, const long long* clock, int first, int rows, int columns) {
  const int j = first_column();
  if (j >= columns) return;
  const int* const of_batch = order + clock[ROW] + first;
  for (int i = first_row(); i < rows; i += rows_on()) {
    const int source = of_batch[i];
    t[(long long)i * columns + j] = target(targets, source, columns, j);
    if (j == 0) w[i] = has_weights ? weights[source] : REAL(1);
  }
}

// t (rows, columns), w (rows,); targets (all rows, columns); weights (all rows,), or empty: then
// every row has the weight 1.
KERNEL gather_targets(
    REAL* __restrict__ t, REAL* __restrict__ w, const REAL* __restrict__ targets,
    const REAL* __restrict__ weights, int has_weights, const int* __restrict__ order,
    const long long* __restrict__ clock, int first, int rows, int columns) {
  gather_weighted(t, w, targets, weights, has_weights, order, clock, first, rows, columns);
}

// The same from class indices (all rows,).
KERNEL gather_targets_classes(
    REAL* __restrict__ t, REAL* __restrict__ w, const int* __restrict__ targets,
    const REAL* __restrict__ weights, int has_weights, const int* __restrict__ order,
    const long long* __restrict__ clock, int first, int rows, int columns) {
  gather_weighted(t, w, targets, weights, has_weights, order, clock, first, rows, columns);
}

// out (rows, width) bytes = the rows index (rows,) of a matrix whose rows are width bytes long.
KERNEL take_rows(
    unsigned char* __restrict__ out, const unsigned char* __restrict__ source,
    const int* __restrict__ index, int rows, int width) {
  const int j = first_column();
  if (j >= width) return;
  for (int i = first_row(); i < rows; i += rows_on()) {
    out[(long long)i * width + j] = source[(long long)index[i] * width + j];
  }
}
