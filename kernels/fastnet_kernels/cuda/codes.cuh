// The numbers that kernels and the host agree on: kinds of layers, losses and rules, and the slots
// of the small buffers. Their meaning stands in fastnet/execution/codes.py and buffers.py; a test
// holds every line against these, so that each file can also be compiled without Python.
#pragma once

// codes.py
#define LINEAR 0
#define SIGMOID 1
#define TANH 2
#define RELU 3
#define LEAKY_RELU 4
#define ELU 5
#define SOFTMAX 6

#define MSE 0
#define MAE 1
#define LOG_LOSS 2
#define CATEGORICAL_CROSSENTROPY 3

#define NO_HITS 0
#define ARGMAX_HITS 1
#define THRESHOLD_HITS 2

// programs.py
#define ENDS_PLAIN 0
#define ENDS_WITH_BIAS 1
#define ENDS_WITH_SLOPE 2

// buffers.py
#define RATE 0
#define SCALE 1
#define LOSS 2
#define HITS 3
#define HALTED 4

#define STEP 0
#define BATCH 1
#define ROW 2

#define TOTAL_LOSS 0
#define TOTAL_HITS 1
