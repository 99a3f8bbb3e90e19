// Purpose: the product of two operands that need not be matrices in memory, by thread blocks with
//          tiles in shared memory and sums in registers. matmul.cu and convolution.cuh define the
//          operands; this file loads, multiplies and stores. README.md explains it step by step.
//
// Formula: sum over k of a(m, k) * b(n, k), for rows m of one operand and rows n of the other.
//
// An operand is a type with
//     ALONG_K                 true if elements are contiguous along k, false if along rows
//     Row row(int r)          state for row r
//     Place place(int k)      state for index k
//     advance(Place&)         advances k by BLOCK_K
//     load<COUNT>(row, place) COUNT contiguous elements; 0 out of bounds
//
// Threads: a block of THREADS computes BLOCK_M x BLOCK_N sums, in SLICES groups of threads; each
//          group takes a part of a tile's k. thread_sums.cuh and warp_sums.cuh assign the sums.
//          Tiles are double-buffered: the next pair is prefetched to registers while the current
//          pair is multiplied. One barrier a tile.
//
// Limits:  the macros BLOCK_M, BLOCK_N, BLOCK_K, THREAD_M, THREAD_N, SLICES, VECTOR_A, VECTOR_B.
//          The threads divide the vectors of each tile evenly. Indices of k and of rows are int.
//          PRECISION: see tile_sums.cuh.

#pragma once

#include "activation.cuh"
#include "tile_sums.cuh"
#if PRECISION == FP32
#include "thread_sums.cuh"
#else
#include "warp_sums.cuh"
#endif

// An index in three digits, such as a tap's row, column and channel: advancing by BLOCK_K needs no
// division.
struct Digits {
    int high, middle, low;
};

// Converts indices to digits, and advances digits. The low digit counts fastest. With SIDE > 1, the
// order is square by square: all (middle, low) of a SIDE x SIDE square in row-major order, then
// the next square; like the pixels of pooling windows.
template <int SIDE>
class SquareCounter {
public:
    static_assert(BLOCK_K % (SIDE * SIDE) == 0, "a step would end within a square");

    __device__ SquareCounter(const int middles, const int lows)
        : middles(middles), lows(lows), step(at(BLOCK_K)) {}

    __device__ Digits at(const int number) const {
        const int square = number / (SIDE * SIDE), within = number % (SIDE * SIDE);
        const int upper = square / (lows / SIDE);
        return {
            upper / (middles / SIDE), upper % (middles / SIDE) * SIDE + within / SIDE,
            square % (lows / SIDE) * SIDE + within % SIDE
        };
    }

    __device__ void advance(Digits& digits) const {
        digits.low += step.low;
        const bool carry = digits.low >= lows;
        digits.low -= carry ? lows : 0;
        digits.middle += step.middle + (carry ? SIDE : 0);
        const bool carry_high = digits.middle >= middles;
        digits.middle -= carry_high ? middles : 0;
        digits.high += step.high + carry_high;
    }

private:
    const int middles, lows;
    const Digits step;
};

typedef SquareCounter<1> Counter;

// Return the end of a split of the sum over `length`, without int overflow.
__device__ inline int split_end(const int begin, const int chunk, const int length) {
    return length - begin < chunk ? length : begin + chunk;
}

template <int COUNT>
__device__ inline Vector<A, COUNT> zeros() {
    Vector<A, COUNT> vector;
    for (int i = 0; i < COUNT; ++i) vector.values[i] = 0;
    return vector;
}

template <int COUNT>
__device__ inline Vector<A, COUNT> load_widened(const T* address) {
    const Vector<T, COUNT> loaded = load_vector<COUNT>(address);
    Vector<A, COUNT> vector;
    for (int i = 0; i < COUNT; ++i) vector.values[i] = widen(loaded.values[i]);
    return vector;
}

// An operand that is a matrix in memory: (rows, length) if IN_LINES, else (length, rows).
template <bool IN_LINES>
struct Matrix {
    static constexpr bool ALONG_K = IN_LINES;
    typedef int Row;
    typedef int Place;

    const T* data;
    int rows, length;
    int64 line;  // stride between lines in memory, in elements

    __device__ Row row(const int r) const { return r; }
    __device__ Place place(const int k) const { return k; }
    __device__ void advance(Place& place) const { place += BLOCK_K; }

    template <int COUNT>
    __device__ Vector<A, COUNT> load(const Row& row, const Place& place) const {
        if (row >= rows || place >= length) return zeros<COUNT>();
        return load_widened<COUNT>(data + (IN_LINES ? row * line + place : place * line + row));
    }
};

// Loads an operand's tiles one after another: from global memory to registers, then to shared
// memory as (BLOCK_K, ROWS).
template <int ROWS, int VECTOR, typename Operand>
class TileLoader {
public:
    __device__ TileLoader(const Operand& operand, const int first_row, const int first_k)
        : operand(operand), line(threadIdx.x / PER_LINE), inner(threadIdx.x % PER_LINE * VECTOR) {
        for (int i = 0; i < ROWS_KEPT; ++i) {
            rows[i] = operand.row(first_row + (ALONG_K ? line + i * AT_ONCE : inner));
        }
        for (int i = 0; i < PLACES_KEPT; ++i) {
            places[i] = operand.place(first_k + (ALONG_K ? inner : line + i * AT_ONCE));
        }
    }

    __device__ void load() {
#pragma unroll
        for (int i = 0; i < LOADS; ++i) {
            loaded[i] = operand.template load<VECTOR>(
                rows[ALONG_K ? i : 0], places[ALONG_K ? 0 : i]
            );
        }
        for (int i = 0; i < PLACES_KEPT; ++i) operand.advance(places[i]);
    }

    __device__ void store(A* tile) const {
#pragma unroll
        for (int i = 0; i < LOADS; ++i) {
            const int outer = line + i * AT_ONCE;
            const Vector<A, VECTOR> factors = as_factors(loaded[i]);
            if (ALONG_K) {
                for (int j = 0; j < VECTOR; ++j) {
                    tile[(inner + j) * line_of(ROWS) + outer] = factors.values[j];
                }
            } else {
                store_vector(tile + outer * line_of(ROWS) + inner, factors);
            }
        }
    }

private:
    static constexpr bool ALONG_K = Operand::ALONG_K;
    static constexpr int PER_LINE = (ALONG_K ? BLOCK_K : ROWS) / VECTOR;  // vectors
    static constexpr int AT_ONCE = THREADS / PER_LINE;                    // lines
    static constexpr int LOADS = (ALONG_K ? ROWS : BLOCK_K) / AT_ONCE;
    static constexpr int ROWS_KEPT = ALONG_K ? LOADS : 1, PLACES_KEPT = ALONG_K ? 1 : LOADS;
    static_assert(THREADS % PER_LINE == 0 && (ALONG_K ? ROWS : BLOCK_K) % AT_ONCE == 0, "uneven");

    const Operand operand;
    const int line, inner;
    typename Operand::Row rows[ROWS_KEPT];
    typename Operand::Place places[PLACES_KEPT];
    Vector<A, VECTOR> loaded[LOADS];
};

// Multiply a tile: rows from first_m of `a` by rows from first_n of `b`, over k in [begin, end).
// Calls result.store(m, n, sums) with sums (Result::ROWS, GROUP_N) of neighbouring m and n.
template <typename OperandA, typename OperandB, typename Result>
__device__ inline void multiply(
    const OperandA& a, const OperandB& b, const int first_m, const int first_n, const int begin,
    const int end, const Result& result
) {
    SHARED(A, memory, 2 * SIZE_A + 2 * SIZE_B);
    A* tiles_a = memory;
    A* tiles_b = memory + 2 * SIZE_A;
    TileLoader<BLOCK_M, VECTOR_A, OperandA> from_a(a, first_m, begin);
    TileLoader<BLOCK_N, VECTOR_B, OperandB> from_b(b, first_n, begin);
    TileSums sums;

    from_a.load();
    from_b.load();
    from_a.store(tiles_a);
    from_b.store(tiles_b);
    __syncthreads();
    int now = 0;  // buffer that is multiplied
    for (int k = begin; k < end; k += BLOCK_K, now ^= 1) {
        const bool more = k + BLOCK_K < end;
        if (more) {
            from_a.load();
            from_b.load();
        }
        sums.add(tiles_a + now * SIZE_A, tiles_b + now * SIZE_B);
        if (more) {
            from_a.store(tiles_a + (now ^ 1) * SIZE_A);
            from_b.store(tiles_b + (now ^ 1) * SIZE_B);
        }
        __syncthreads();
    }
    sums.store(memory, first_m, first_n, result);
}

// Epilogue: stores sums to y, with bias and activation. If the sum over k is split among blocks,
// stores partial sums to the block's part of `partial`; a second launch adds them in fixed order.
template <bool ACTIVATED>
struct Result {
    static constexpr int ROWS = 1;

    T* y;
    A* partial;     // (splits, rows, line), or null
    const T* bias;  // or null
    int rows, columns;
    int64 line;  // stride between rows of y, in elements

    __device__ void store(const int m, const int n, const Vector<A, GROUP_N> (&sums)[ROWS]) const {
        if (m >= rows) return;
        if (VECTOR_Y > 1) {  // columns are a multiple of GROUP_N
            if (n < columns) store_some<GROUP_N>(m, n, sums[0].values);
        } else {
            for (int i = 0; i < GROUP_N; ++i) {
                if (n + i < columns) store_some<1>(m, n + i, sums[0].values + i);
            }
        }
    }

    template <int COUNT>
    __device__ void store_some(const int m, const int n, const A* sums) const {
        const int64 offset = m * line + n;
        if (partial != nullptr) {
            Vector<A, COUNT> part;
            for (int i = 0; i < COUNT; ++i) part.values[i] = sums[i];
            store_vector(partial + offset, part);
            return;
        }
        Vector<T, COUNT> part;
        for (int i = 0; i < COUNT; ++i) {
            const A sum = bias == nullptr ? sums[i] : sums[i] + widen(bias[n + i]);
            part.values[i] = narrow<T>(ACTIVATED ? activate(sum, A(FUSED_OPTION)) : sum);
        }
        store_vector(y + offset, part);
    }
};
