// run_program: many launches as one, by blocks that stay.
//
// Fused: everything between two places at which all blocks have to wait for each other. A program
// is a list of calls of kernels, in levels: the calls of a level do not touch what another one of
// them writes, so that only between levels the blocks meet. A level has the places of all its calls'
// grids, which the blocks of this launch take in turns; which block has which place is of no
// importance to a kernel, and so the results of a program do not depend on how many there are.
//
// All blocks must be on the device at the same time: the launch is cooperative.

// Within a program a kernel is a function, and its place is none of the launch's. What one level
// writes the next one reads, so that nothing may be promised to be constant all along.
#define KERNEL __device__ void
#define __restrict__

struct Place {
  int x, y, across, down;
};
__shared__ Place place;
__device__ __forceinline__ int block_x() { return place.x; }
__device__ __forceinline__ int block_y() { return place.y; }
__device__ __forceinline__ int blocks_x() { return place.across; }
__device__ __forceinline__ int blocks_y() { return place.down; }

#include "calls.cuh"

// A call in a program: its kernel's number, the places of the level before its own, its grid, and
// its arguments, eight bytes each.
#define KERNEL_NUMBER 0
#define FIRST_PLACE 1
#define ACROSS 2
#define DOWN 3
#define ARGUMENTS 4
#define RECORD 24
// Programs of up to so many calls are kept in shared memory: after every meeting a block would have
// to fetch what it reads of them from the second-level cache again.
#define MOST_KEPT 96

// Wait until all blocks are here, for the meetings-th time since arrived was 0. What they have
// written before, all of them see afterwards.
__device__ __forceinline__ void meet(unsigned* arrived, unsigned meetings) {
#ifdef FASTNET_HOST
  grid_sync(arrived);
#else
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(arrived, 1u);
    const unsigned all = meetings * gridDim.x;  // both counts may begin anew: what counts is
    while (int(*(volatile unsigned*)arrived - all) < 0) {}  // which of them is ahead
    __threadfence();
  }
  __syncthreads();
#endif
}

// first (levels + 1,): the number of each level's first call; calls (first[levels], RECORD). All of
// it rounds times; arrived (1,) must be 0.
extern "C" __global__ void __launch_bounds__(THREADS, 1) run_program(
    const int* first, const long long* calls, int* arrived, int levels, int rounds) {
  __shared__ long long kept_calls[MOST_KEPT * RECORD];
  __shared__ int kept_first[MOST_KEPT + 1];
  const int number_of_calls = first[levels];
  if (number_of_calls <= MOST_KEPT) {  // and no more levels than calls
    for (int i = threadIdx.x; i < number_of_calls * RECORD; i += THREADS) kept_calls[i] = calls[i];
    for (int i = threadIdx.x; i <= levels; i += THREADS) kept_first[i] = first[i];
    __syncthreads();
    calls = kept_calls;
    first = kept_first;
  }
  unsigned meetings = 0;
  for (int round = 0; round < rounds; ++round) {
    for (int level = 0; level < levels; ++level) {
      const int end = first[level + 1];
      const long long* const last = calls + (long long)(end - 1) * RECORD;
      const long long places = last[FIRST_PLACE] + last[ACROSS] * last[DOWN];
      const long long* call_of = calls + (long long)first[level] * RECORD;
      for (long long at = blockIdx.x; at < places; at += gridDim.x) {
        while (call_of != last && call_of[RECORD + FIRST_PLACE] <= at) call_of += RECORD;
        __syncthreads();  // the place before may still be asked for, and its shared memory read
        if (threadIdx.x == 0) {
          const int across = int(call_of[ACROSS]), number = int(at - call_of[FIRST_PLACE]);
          place = Place{number % across, number / across, across, int(call_of[DOWN])};
        }
        __syncthreads();
        call(int(call_of[KERNEL_NUMBER]), call_of + ARGUMENTS);
      }
      meet((unsigned*)arrived, ++meetings);
    }
  }
}
