// What a kernel is, and which part of the work a block of it has.
//
// Every kernel runs in blocks of 256 threads, over a grid that is as large as its matrix. It does so
// in one of two ways: launched by itself, where the grid is the launch's; or as a function within
// program.cu, whose few blocks take the places of the grid's blocks one after the other. A kernel
// therefore asks here where it is, and leaves nothing in shared memory for the next place.
#pragma once

#define THREADS 256
// Threads of a block that works on the elements of a matrix: columns, and rows. A warp is a row of
// the tile, so that it reads adjacent elements, and nothing is divided.
#define TILE_COLUMNS 32
#define TILE_ROWS 8

#ifndef KERNEL
// As few blocks at a time as one on a multiprocessor may be: that gives every thread the registers
// that it asks for. Without the 1, NVRTC spilled some of float64's.
#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS, 1)
__device__ __forceinline__ int block_x() { return int(blockIdx.x); }
__device__ __forceinline__ int block_y() { return int(blockIdx.y); }
__device__ __forceinline__ int blocks_x() { return int(gridDim.x); }
__device__ __forceinline__ int blocks_y() { return int(gridDim.y); }
#endif

__device__ __forceinline__ int thread() { return int(threadIdx.x); }
__device__ __forceinline__ int tile_column() { return thread() % TILE_COLUMNS; }
__device__ __forceinline__ int tile_row() { return thread() / TILE_COLUMNS; }

// The element of a matrix that a thread begins with, and how far below its next one is.
__device__ __forceinline__ int first_column() { return block_x() * TILE_COLUMNS + tile_column(); }
__device__ __forceinline__ int first_row() { return block_y() * TILE_ROWS + tile_row(); }
__device__ __forceinline__ int rows_on() { return blocks_y() * TILE_ROWS; }

// The element of a flat vector that a thread begins with, and how far away its next one is.
__device__ __forceinline__ long long first_element() {
  return (long long)block_x() * THREADS + thread();
}
__device__ __forceinline__ long long elements_on() { return (long long)blocks_x() * THREADS; }
