// Teams: the threads that share one row of a matrix, and what they find out together.
//
// A Warp is enough for rows of some hundred columns; a Block takes rows of any width. A kernel over
// rows is written once for both. Member k of a team takes the columns k, k + size, ... A result does
// not depend on the order in which threads run, and is the same on all members (but that of equal
// zeros either sign may count as the larger).
#pragma once
#include "kernel.cuh"

#define WARPS (THREADS / 32)
#define ALL_LANES 0xffffffffu

struct Add {
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return a + b; }
};
struct Larger {  // NaN is larger than every number
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const {
    return b > a || b != b ? b : a;
  }
};
struct Smaller {
  template <class T> __device__ __forceinline__ T operator()(T a, T b) const { return b < a ? b : a; }
};

// Exchanging with the lane whose number differs in one bit gives both the same pair to combine.
template <class T, class Combine>
__device__ __forceinline__ T over_warp(T value, Combine combine) {
  #pragma unroll
  for (int distance = 16; distance; distance >>= 1) {
    value = combine(value, __shfl_xor_sync(ALL_LANES, value, distance));
  }
  return value;
}

struct Warp {
  __device__ __forceinline__ int member() const { return thread() % 32; }
  __device__ __forceinline__ int size() const { return 32; }

  template <class T, class Combine>
  __device__ __forceinline__ T all(T value, Combine combine) const {
    return over_warp(value, combine);
  }
};

struct Block {
  double* shared;  // a place for every warp

  __device__ __forceinline__ int member() const { return thread(); }
  __device__ __forceinline__ int size() const { return THREADS; }

  template <class T, class Combine>
  __device__ __forceinline__ T all(T value, Combine combine) const {
    const int lane = thread() % 32, warp = thread() / 32;
    value = over_warp(value, combine);
    __syncthreads();  // what the last call left here may still be read
    if (lane == 0) shared[warp] = double(value);
    __syncthreads();
    // Spare lanes repeat the first warp's value: harmless to Larger and Smaller; Add leaves it out.
    value = T(shared[lane < WARPS ? lane : 0]);
    return over_warp(spare(value, lane >= WARPS, combine), combine);
  }

 private:
  template <class T> __device__ __forceinline__ static T spare(T value, bool is_spare, Add) {
    return is_spare ? T(0) : value;
  }
  template <class T, class Combine>
  __device__ __forceinline__ static T spare(T value, bool, Combine) {
    return value;
  }
};

// The row that this thread works on where each warp has one, and where each block has one.
__device__ __forceinline__ int row_of_warp() {
  return block_x() * WARPS + thread() / 32;
}
__device__ __forceinline__ int row_of_block() { return block_x(); }

template <class T, class Team>
__device__ __forceinline__ T sum(const Team& team, T value) {
  return team.all(value, Add());
}

// The first position of the largest element, or of a NaN. Every member begins with the first
// element, so that those without a column of their own have something to compare.
template <class T, class Team>
__device__ __forceinline__ int argmax(const Team& team, const T* x, int columns) {
  T largest = x[0];
  int position = 0;
  for (int j = team.member(); j < columns; j += team.size()) {
    if (x[j] > largest || (x[j] != x[j] && largest == largest)) {
      largest = x[j];
      position = j;
    }
  }
  const T top = team.all(largest, Larger());
  const bool is_top = largest == top || (largest != largest && top != top);
  return team.all(is_top ? position : columns, Smaller());
}

template <class T, class Team>
__device__ __forceinline__ T largest_of(const Team& team, const T* x, int columns) {
  T largest = x[0];
  for (int j = team.member(); j < columns; j += team.size()) {
    largest = Larger()(largest, x[j]);
  }
  return team.all(largest, Larger());
}
