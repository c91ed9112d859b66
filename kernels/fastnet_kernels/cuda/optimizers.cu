// sgd_step, momentum_step, adam_step: one pass over the flat vectors (size,).
//
// Fused: the state's update with the parameters'; every vector is read and written once. Nothing
// happens once scalars[HALTED] is set. The rate and the count of steps are read on the device.
#include "codes.cuh"
#include "kernel.cuh"
#include "real.cuh"

#define FOR_EACH_ELEMENT(i, size) \
  for (long long i = first_element(); i < (size); i += elements_on())

KERNEL sgd_step(
    REAL* __restrict__ theta, const REAL* __restrict__ gradient,
    const double* __restrict__ scalars, long long size) {
  if (scalars[HALTED] != 0) return;
  const REAL rate = REAL(scalars[RATE]);
  FOR_EACH_ELEMENT(i, size) theta[i] -= rate * gradient[i];
}

KERNEL momentum_step(
    REAL* __restrict__ theta, REAL* __restrict__ velocity, const REAL* __restrict__ gradient,
    const double* __restrict__ scalars, double momentum, int nesterov, long long size) {
  if (scalars[HALTED] != 0) return;
  const REAL rate = REAL(scalars[RATE]), mu = REAL(momentum);
  FOR_EACH_ELEMENT(i, size) {
    const REAL g = gradient[i], v = mu * velocity[i] + g;
    velocity[i] = v;
    theta[i] -= rate * (nesterov ? g + mu * v : v);
  }
}

// clock (CLOCK,). The corrections for the first steps are taken in float64, once per block.
KERNEL adam_step(
    REAL* __restrict__ theta, REAL* __restrict__ m, REAL* __restrict__ v,
    const REAL* __restrict__ gradient, const double* __restrict__ scalars,
    const long long* __restrict__ clock, double beta_1, double beta_2, double epsilon,
    long long size) {
  __shared__ REAL shared_rate, shared_root;
  if (scalars[HALTED] != 0) return;  // all threads of the block alike
  if (thread() == 0) {
    const double t = double(clock[STEP]);
    shared_rate = REAL(scalars[RATE] / (1 - pow(beta_1, t)));
    shared_root = REAL(1 / sqrt(1 - pow(beta_2, t)));
  }
  __syncthreads();
  const REAL rate = shared_rate, root = shared_root, small = REAL(epsilon);
  const REAL keep_m = REAL(beta_1), add_m = REAL(1 - beta_1);
  const REAL keep_v = REAL(beta_2), add_v = REAL(1 - beta_2);
  FOR_EACH_ELEMENT(i, size) {
    const REAL g = gradient[i];
    const REAL mean = keep_m * m[i] + add_m * g, square = keep_v * v[i] + add_v * (g * g);
    m[i] = mean;
    v[i] = square;
    theta[i] -= rate * mean / (sqrt(square) * root + small);
  }
}
