// begin_step, add_losses, count_step, and not_finite: the few numbers that a step keeps.
//
// They live in device memory, so that a captured step can be replayed: the learning rate is read at
// the clock's position, and losses are added up until the epoch ends. scalars (SCALARS,), clock
// (CLOCK,), totals (TOTALS,).
#include "codes.cuh"
#include "kernel.cuh"
#include "real.cuh"
#include "teams.cuh"

// rates, scales (steps of the epoch,). One thread works.
KERNEL begin_step(
    double* __restrict__ scalars, const long long* __restrict__ clock,
    const double* __restrict__ rates, const double* __restrict__ scales) {
  if (thread() != 0) return;
  const long long batch = clock[BATCH];
  scalars[RATE] = rates[batch];
  scalars[SCALE] = scales[batch];
  scalars[LOSS] = 0;
  scalars[HITS] = 0;
}

// row_loss, row_hits (rows,), summed in float64 by one block: fixed shares in a fixed order.
KERNEL add_losses(
    double* __restrict__ scalars, const REAL* __restrict__ row_loss,
    const REAL* __restrict__ row_hits, int rows) {
  __shared__ double shared[WARPS];
  const Block team{shared};
  double loss = 0, hits = 0;
  for (int i = team.member(); i < rows; i += team.size()) {
    loss += double(row_loss[i]);
    hits += double(row_hits[i]);
  }
  loss = sum(team, loss);
  hits = sum(team, hits);
  if (team.member() == 0) {
    scalars[LOSS] += loss;
    scalars[HITS] += hits;
  }
}

// Counts a step of so many rows, or halts at the first one whose loss is not finite. One thread works.
KERNEL count_step(
    double* __restrict__ scalars, long long* __restrict__ clock, double* __restrict__ totals,
    int rows) {
  if (thread() != 0) return;
  if (!isfinite(scalars[LOSS])) scalars[HALTED] = 1;
  if (scalars[HALTED] != 0) return;
  totals[TOTAL_LOSS] += scalars[LOSS];
  totals[TOTAL_HITS] += scalars[HITS];
  clock[STEP] += 1;
  clock[BATCH] += 1;
  clock[ROW] += rows;
}

// found (1,) becomes 1 if one of the values (size,) is NaN or infinite, and else stays as it is.
KERNEL not_finite(
    int* __restrict__ found, const REAL* __restrict__ values, long long size) {
  bool is_bad = false;
  for (long long i = first_element(); i < size; i += elements_on()) {
    is_bad = is_bad || !isfinite(values[i]);
  }
  if (is_bad) *found = 1;  // whoever writes it, writes the same
}
