// Purpose: operations that lanes take part in together.

#pragma once

#include "common.cuh"

struct Sum {
    __device__ static A of(const A a, const A b) { return a + b; }
};

struct Max {  // or NaN if there is one
    __device__ static A of(const A a, const A b) { return b > a || b != b ? b : a; }
};
