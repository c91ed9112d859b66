// Activations and their derivatives, element by element.
#pragma once
#include "codes.cuh"
#include "real.cuh"

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
