// elementwise_loss and cross_entropy: loss, gradient, row weight and hits of every row in one pass.
//
// Fused: the loss with its gradient, the row weights, the step's scale and the count of hits. Never
// materialised: probabilities, and differences from one-hot rows. Each row has a team of threads:
// a warp, or in the kernels called _wide a block.
#include "codes.cuh"
#include "kernel.cuh"
#include "real.cuh"
#include "teams.cuh"

// One row. d and the rest (columns,); factor is scale * w, the weight of the row in the gradient.
struct Row {
  REAL* d;
  const REAL* z;
  const REAL* t;
  int columns;
  REAL factor;
};

template <class Team>
__device__ __forceinline__ bool is_hit(
    const Team& team, const Row& row, int rule, REAL threshold) {
  if (rule == ARGMAX_HITS) {
    return argmax(team, row.z, row.columns) == argmax(team, row.t, row.columns);
  }
  if (rule == NO_HITS) return false;
  int misses = 0;
  for (int j = team.member(); j < row.columns; j += team.size()) {
    misses += (row.z[j] > threshold) != (row.t[j] > REAL(0.5));
  }
  return sum(team, misses) == 0;
}

// l = 1/m sum (a - t)^2, dl/da = 2 (a - t) / m;  or  l = 1/m sum |a - t|, dl/da = sign(a - t) / m.
template <class Team>
__device__ __forceinline__ REAL elementwise_row(
    const Team& team, const Row& row, const REAL* a, int loss) {
  const REAL one_mth = REAL(1) / row.columns, two_mths = REAL(2) / row.columns;
  REAL total = 0;
  for (int j = team.member(); j < row.columns; j += team.size()) {
    const REAL difference = a[j] - row.t[j];
    REAL slope;
    if (loss == MSE) {
      total += difference * difference;
      slope = two_mths * difference;
    } else {
      total += fabs(difference);
      const REAL sign = difference > 0 ? REAL(1) : difference < 0 ? REAL(-1) : difference;
      slope = one_mth * sign;  // the sign of NaN is NaN
    }
    row.d[j] = slope * row.factor;
  }
  return sum(team, total) * one_mth;
}

// l = 1/m sum [ softplus(z) - t z ], dl/dz = (p - t) / m; nothing large cancels in this form.
template <class Team>
__device__ __forceinline__ REAL sigmoid_log_loss(const Team& team, const Row& row) {
  const REAL one_mth = REAL(1) / row.columns;
  REAL total = 0;
  for (int j = team.member(); j < row.columns; j += team.size()) {
    const REAL z = row.z[j], t = row.t[j], away = fabs(z);
    total += away * (z > 0 ? REAL(1) - t : t) + log1p(exp(-away));
    row.d[j] = (REAL(1) / (REAL(1) + exp(-z)) - t) * one_mth * row.factor;
  }
  return sum(team, total) * one_mth;
}

// l = sum t softplus(-z), dl/dz = -t sigmoid(-z).
template <class Team>
__device__ __forceinline__ REAL sigmoid_categorical(const Team& team, const Row& row) {
  REAL total = 0;
  for (int j = team.member(); j < row.columns; j += team.size()) {
    const REAL x = -row.z[j], t = row.t[j];
    total += t * ((x > 0 ? x : REAL(0)) + log1p(exp(-fabs(x))));
    row.d[j] = -t / (REAL(1) + exp(-x)) * row.factor;
  }
  return sum(team, total);
}

// l = sum t (lse - z), dl/dz = p sum t - t.
template <class Team>
__device__ __forceinline__ REAL softmax_categorical(const Team& team, const Row& row) {
  const REAL top = largest_of(team, row.z, row.columns);
  REAL total = 0, mass = 0, dot = 0;
  for (int j = team.member(); j < row.columns; j += team.size()) {
    const REAL below = row.z[j] - top, e = exp(below);
    row.d[j] = e;
    total += e;
    mass += row.t[j];
    dot += row.t[j] * below;
  }
  total = sum(team, total);
  mass = sum(team, mass);
  dot = sum(team, dot);
  const REAL share = mass / total;
  for (int j = team.member(); j < row.columns; j += team.size()) {
    row.d[j] = (row.d[j] * share - row.t[j]) * row.factor;
  }
  return mass * log(total) - dot;
}

// Every output under every other; the equations stand at LogLoss.softmax in fastnet/losses.py.
// The column of the largest logit, top, is treated on its own: for it the sum over the others is
// taken anew, around the second largest.
template <class Team>
__device__ __forceinline__ REAL softmax_log_loss(const Team& team, const Row& row) {
  const int columns = row.columns, top = argmax(team, row.z, columns);
  const REAL peak = row.z[top];
  REAL second = row.z[top == 0 && columns > 1 ? 1 : 0], total = 0;
  for (int j = team.member(); j < columns; j += team.size()) {
    total += exp(row.z[j] - peak);
    if (j != top && row.z[j] > second) second = row.z[j];
  }
  total = sum(team, total);
  second = team.all(second, Larger());

  REAL total_without_top = 0, shares = 0;
  for (int j = team.member(); j < columns; j += team.size()) {
    if (j == top) continue;
    total_without_top += exp(row.z[j] - second);
    shares += (REAL(1) - row.t[j]) / (total - exp(row.z[j] - peak));
  }
  total_without_top = sum(team, total_without_top);
  shares = sum(team, shares);

  const REAL lse = log(total), one_mth = REAL(1) / columns;
  const REAL top_share = (REAL(1) - row.t[top]) / total_without_top;
  REAL loss = 0;
  for (int j = team.member(); j < columns; j += team.size()) {
    const REAL below = row.z[j] - peak, e = exp(below), t = row.t[j];
    const REAL without = total - e, share = j == top ? REAL(0) : (REAL(1) - t) / without;
    const REAL rest = j == top ? second - peak + log(total_without_top) : log(without);
    loss -= t * (below - lse) + (REAL(1) - t) * (rest - lse);
    const REAL pulled =
        e * (shares - share) + (j == top ? REAL(0) : top_share * exp(row.z[j] - second));
    row.d[j] = (e / total - (t + pulled) * one_mth) * row.factor;
  }
  return sum(team, loss) * one_mth;
}

template <class Team>
__device__ __forceinline__ REAL cross_entropy_row(
    const Team& team, const Row& row, int loss, int activation) {
  if (activation == SOFTMAX) {
    return loss == LOG_LOSS ? softmax_log_loss(team, row) : softmax_categorical(team, row);
  }
  return loss == LOG_LOSS ? sigmoid_log_loss(team, row) : sigmoid_categorical(team, row);
}

// Writes what one member writes for its row: row_loss and row_hits (rows,).
template <class Team>
__device__ __forceinline__ void finish(
    const Team& team, REAL* row_loss, REAL* row_hits, int i, REAL loss, REAL w, bool hit) {
  if (team.member() == 0) {
    row_loss[i] = loss * w;
    row_hits[i] = hit ? w : REAL(0);
  }
}

template <class Team>
__device__ __forceinline__ void elementwise(
    const Team& team, int i, REAL* d, REAL* row_loss, REAL* row_hits, const REAL* a, const REAL* z,
    const REAL* t, const REAL* w, const double* scalars, int loss, int rule, double threshold,
    int columns) {
  const long long at = (long long)i * columns;
  const Row row{d + at, z + at, t + at, columns, REAL(scalars[SCALE]) * w[i]};
  const REAL value = elementwise_row(team, row, a + at, loss);
  finish(team, row_loss, row_hits, i, value, w[i], is_hit(team, row, rule, REAL(threshold)));
}

// d, a, z, t (rows, columns); row_loss, row_hits, w (rows,); scalars (SCALARS,).
KERNEL elementwise_loss(
    REAL* __restrict__ d, REAL* __restrict__ row_loss, REAL* __restrict__ row_hits,
    const REAL* a, const REAL* z, const REAL* __restrict__ t, const REAL* __restrict__ w,
    const double* __restrict__ scalars, int loss, int rule, double threshold,
    int rows, int columns) {
  const int i = row_of_warp();
  if (i >= rows) return;
  elementwise(
      Warp(), i, d, row_loss, row_hits, a, z, t, w, scalars, loss, rule, threshold, columns);
}

KERNEL elementwise_loss_wide(
    REAL* __restrict__ d, REAL* __restrict__ row_loss, REAL* __restrict__ row_hits,
    const REAL* a, const REAL* z, const REAL* __restrict__ t, const REAL* __restrict__ w,
    const double* __restrict__ scalars, int loss, int rule, double threshold,
    int rows, int columns) {
  __shared__ double shared[WARPS];
  elementwise(
      Block{shared}, row_of_block(), d, row_loss, row_hits, a, z, t, w, scalars, loss, rule,
      threshold, columns);
}

template <class Team>
__device__ __forceinline__ void from_logits(
    const Team& team, int i, REAL* d, REAL* row_loss, REAL* row_hits, const REAL* z, const REAL* t,
    const REAL* w, const double* scalars, int loss, int activation, int rule, double threshold,
    int columns) {
  const long long at = (long long)i * columns;
  const Row row{d + at, z + at, t + at, columns, REAL(scalars[SCALE]) * w[i]};
  const REAL value = cross_entropy_row(team, row, loss, activation);
  finish(team, row_loss, row_hits, i, value, w[i], is_hit(team, row, rule, REAL(threshold)));
}

// d, z, t (rows, columns); row_loss, row_hits, w (rows,); scalars (SCALARS,).
KERNEL cross_entropy(
    REAL* __restrict__ d, REAL* __restrict__ row_loss, REAL* __restrict__ row_hits,
    const REAL* __restrict__ z, const REAL* __restrict__ t, const REAL* __restrict__ w,
    const double* __restrict__ scalars, int loss, int activation, int rule, double threshold,
    int rows, int columns) {
  const int i = row_of_warp();
  if (i >= rows) return;
  from_logits(
      Warp(), i, d, row_loss, row_hits, z, t, w, scalars, loss, activation, rule, threshold,
      columns);
}

KERNEL cross_entropy_wide(
    REAL* __restrict__ d, REAL* __restrict__ row_loss, REAL* __restrict__ row_hits,
    const REAL* __restrict__ z, const REAL* __restrict__ t, const REAL* __restrict__ w,
    const double* __restrict__ scalars, int loss, int activation, int rule, double threshold,
    int rows, int columns) {
  __shared__ double shared[WARPS];
  from_logits(
      Block{shared}, row_of_block(), d, row_loss, row_hits, z, t, w, scalars, loss, activation,
      rule, threshold, columns);
}
