// Purpose: scaled dot-product attention and its gradients, without a matrix of all scores.
//
// Formula: scores = scale * query @ key.T, HIDDEN where a key is not seen: where the mask is 0, and
//          if causal where the key is later than the query. output = softmax(scores) @ value, by an
//          online softmax over tiles of keys; log_sums is the logarithm of each query's sum of
//          exponentials. Backwards shares = exp(scores - log_sums), share_grad = output_grad @
//          value.T, and score_grad = scale * shares * (share_grad - mean), where mean is the sum of
//          output_grad * output. A query that sees no key ("blind") has HIDDEN as its largest
//          score: its shares are 1 / keys, and its scores have no gradient.
//
// Layout:  query and query_grad are (batch, queries, heads, depth), key and key_grad (batch, keys,
//          key_heads, depth), value and value_grad (batch, keys, key_heads, value_depth), output
//          and output_grad (batch, queries, heads, value_depth), of type T; log_sums and means
//          (batch, heads, queries) of type A. All contiguous. The mask is of bytes, with steps of
//          mask_... elements, 0 along an axis that it is the same for; null for none.
//
// Threads: blocks of 128. A block makes TILE rows of a result, of queries, or for attention_keys of
//          keys; blockIdx.x counts these, blockIdx.y heads and samples, blockIdx.z slices of SLICE
//          columns: blocks of other slices make the same scores. It goes through tiles of TILE rows
//          of the other kind. Eight lanes share two rows: lane l has columns l, l + 8, ... of
//          scores and of results. Sums are in a fixed order, and no two blocks write to one number.
//          attention_queries must have run before attention_keys, which reads its means.
//
// Limits:  SLICE is 32, 64 or 128, the latter for float32 sums alone: shared memory is at most
//          34 KiB.
// Registers: at most 168 a thread, 240 for float64: 3 blocks a multiprocessor, of float64 2.

#include "common.cuh"

constexpr int THREADS = 128, TILE = 32, LANES = 8, ROWS = 2, COLUMNS = TILE / LANES;
constexpr int LINE = TILE + 1;  // so that neighbouring rows lie in other banks
constexpr int WIDTH = SLICE / LANES;
constexpr int LEAST_BLOCKS = sizeof(A) == 4 ? 3 : 2;
constexpr int BUFFER = TILE * SLICE > 2 * TILE * LINE ? TILE * SLICE : 2 * TILE * LINE;

__device__ inline A hidden_score() { return A(-1e30); }
// Whether a query saw no key, by its largest score or the logarithm of its sum.
__device__ inline bool is_blind(const A size) { return size < A(-5e29); }

// Rows of one head, `step` elements apart; those from `rows` on are not there.
struct Rows {
    const T* first;
    int64 step;
    int rows, length;

    __device__ A get(const int row, const int column) const {
        return row < rows && column < length ? widen(first[row * step + column]) : A(0);
    }
};

// Where the head of a sample begins in an array (batch, time, heads, depth), from a row on.
template <typename Element>
__device__ inline Element* head_of(
    Element* array, const int64 sample, const int time, const int row, const int heads,
    const int head, const int depth
) {
    return array + ((sample * time + row) * heads + head) * static_cast<int64>(depth);
}

__device__ inline Rows rows_of(
    const T* array, const int64 sample, const int time, const int row, const int heads,
    const int head, const int depth
) {
    const int64 step = static_cast<int64>(heads) * depth;
    return {head_of(array, sample, time, row, heads, head, depth), step, min(TILE, time - row),
            depth};
}

__device__ inline int own_row(const int i) { return threadIdx.x / LANES * ROWS + i; }
__device__ inline int own_column(const int j) { return threadIdx.x % LANES + LANES * j; }

// Products of rows with rows: sums[i][j] is that of own_row(i) of a and own_column(j) of b.
__device__ inline void multiply(A (&sums)[ROWS][COLUMNS], const Rows& a, const Rows& b, A* buffer) {
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) sums[i][j] = 0;
    }
    for (int first = 0; first < a.length; first += TILE) {
        __syncthreads();  // the buffer has been read
        for (int i = threadIdx.x; i < TILE * TILE; i += THREADS) {
            const int row = i / TILE, column = i % TILE;
            buffer[row * LINE + column] = a.get(row, first + column);
            buffer[(TILE + row) * LINE + column] = b.get(row, first + column);
        }
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < TILE; ++k) {
            A left[ROWS], right[COLUMNS];
#pragma unroll
            for (int i = 0; i < ROWS; ++i) left[i] = buffer[own_row(i) * LINE + k];
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) right[j] = buffer[(TILE + own_column(j)) * LINE + k];
#pragma unroll
            for (int i = 0; i < ROWS; ++i) {
#pragma unroll
                for (int j = 0; j < COLUMNS; ++j) sums[i][j] += left[i] * right[j];
            }
        }
    }
}

// Write a tile of factors (TILE, TILE) to shared memory; a barrier follows in `accumulate`.
__device__ inline void put_tile(A* tile, const A (&values)[ROWS][COLUMNS]) {
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
#pragma unroll
        for (int j = 0; j < COLUMNS; ++j) tile[own_row(i) * LINE + own_column(j)] = values[i][j];
    }
}

// Add factors @ x to the sums of own rows, for the columns of a slice from `begin` on.
__device__ inline void accumulate(
    A (&sums)[ROWS][WIDTH], const A* factors, const Rows& x, const int begin, A* buffer
) {
    __syncthreads();  // the buffer has been read, the factors have been written
    for (int i = threadIdx.x; i < TILE * SLICE; i += THREADS) {
        buffer[i] = x.get(i / SLICE, begin + i % SLICE);
    }
    __syncthreads();
#pragma unroll 2
    for (int k = 0; k < TILE; ++k) {
        A left[ROWS];
#pragma unroll
        for (int i = 0; i < ROWS; ++i) left[i] = factors[own_row(i) * LINE + k];
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const A right = buffer[k * SLICE + own_column(j)];
#pragma unroll
            for (int i = 0; i < ROWS; ++i) sums[i][j] += left[i] * right;
        }
    }
}

__device__ inline void clear(A (&sums)[ROWS][WIDTH]) {
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) sums[i][j] = 0;
    }
}

// Write own rows of a slice to the rows of an array, as far as they are there.
__device__ inline void write_rows(
    T* first, const int64 step, const int rows, const int length, const int begin,
    const A (&sums)[ROWS][WIDTH], const A (&divisors)[ROWS]
) {
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const int column = begin + own_column(j);
            if (own_row(i) < rows && column < length) {
                first[own_row(i) * step + column] = narrow<T>(sums[i][j] / divisors[i]);
            }
        }
    }
}

// What the eight lanes of a row have, taken together: each gets the same bits.
template <typename Operation>
__device__ inline A over_lanes(A value, const Operation& operation) {
#pragma unroll
    for (int distance = LANES / 2; distance > 0; distance /= 2) {
        value = operation(value, __shfl_xor_sync(WHOLE_WARP, value, distance));
    }
    return value;
}

// Which keys a query sees.
struct Sight {
    const uint8* mask;  // of the sample and the head, or null
    int64 query_step, key_step;
    int causal;

    __device__ bool hides(const int query, const int key) const {
        return (causal && key > query) ||
               (mask != nullptr && mask[query * query_step + key * key_step] == 0);
    }
};

// Whether a condition holds for a thread of the block; all threads get the same.
__device__ inline bool any_of_block(const bool condition, int* flag) {
    __syncthreads();  // the flag has been read
    if (threadIdx.x == 0) *flag = 0;
    __syncthreads();
    if (__ballot_sync(WHOLE_WARP, condition) && threadIdx.x % WARP == 0) *flag = 1;
    __syncthreads();
    return *flag != 0;
}

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) attention_forward(
    const int heads, const int key_heads, const int queries, const int keys, const int depth,
    const int value_depth, const int causal, const A scale, const int64 mask_batch,
    const int64 mask_head, const int64 mask_query, const int64 mask_key, const T* query,
    const T* key, const T* value, const uint8* mask, T* output, A* log_sums
) {
    SHARED(A, buffer, BUFFER);
    SHARED(A, shares, TILE * LINE);
    SHARED(int, flag, 1);
    const int64 sample = blockIdx.y / heads;
    const int head = blockIdx.y % heads, key_head = head / (heads / key_heads);
    const int first = blockIdx.x * TILE, begin = blockIdx.z * SLICE;
    const uint8* own_mask =
        mask == nullptr ? nullptr : mask + sample * mask_batch + head * mask_head;
    const Sight sight = {own_mask, mask_query, mask_key, causal};
    const Rows own = rows_of(query, sample, queries, first, heads, head, depth);
    A sums[ROWS][WIDTH], largest[ROWS], totals[ROWS];
    clear(sums);
#pragma unroll
    for (int i = 0; i < ROWS; ++i) largest[i] = -bits_float(0x7f800000u), totals[i] = 0;
    for (int start = 0; start < keys; start += TILE) {
        if (causal && start > first + own.rows - 1) {
            // Later keys count for nothing, unless a query sees no key at all.
            if (mask == nullptr) break;
            bool blind = false;
#pragma unroll
            for (int i = 0; i < ROWS; ++i) blind |= own_row(i) < own.rows && is_blind(largest[i]);
            if (!any_of_block(blind, flag)) break;
        }
        A scores[ROWS][COLUMNS];
        const Rows others = rows_of(key, sample, keys, start, key_heads, key_head, depth);
        multiply(scores, own, others, buffer);
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
            const int row = first + own_row(i);
            A most = largest[i];
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
                const int column = start + own_column(j);
                const bool is_there = column < keys && row < queries;
                scores[i][j] *= scale;
                if (is_there && sight.hides(row, column)) scores[i][j] = hidden_score();
                if (is_there && !(scores[i][j] <= most)) most = scores[i][j];  // or NaN
            }
            most = over_lanes(most, [](const A a, const A b) { return a > b || a != a ? a : b; });
            A total = 0;
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
                const bool is_there = start + own_column(j) < keys && row < queries;
                scores[i][j] = is_there ? exp(scores[i][j] - most) : A(0);
                total += scores[i][j];
            }
            total = over_lanes(total, [](const A a, const A b) { return a + b; });
            const A change = largest[i] == most ? A(1) : exp(largest[i] - most);
            totals[i] = totals[i] * change + total;
            largest[i] = most;
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) sums[i][j] *= change;
        }
        put_tile(shares, scores);
        const Rows values = rows_of(value, sample, keys, start, key_heads, key_head, value_depth);
        accumulate(sums, shares, values, begin, buffer);
    }
    T* to = head_of(output, sample, queries, first, heads, head, value_depth);
    write_rows(to, static_cast<int64>(heads) * value_depth, own.rows, value_depth, begin, sums,
               totals);
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
        if (blockIdx.z == 0 && threadIdx.x % LANES == 0 && own_row(i) < own.rows) {
            const int64 at = static_cast<int64>(blockIdx.y) * queries + first + own_row(i);
            log_sums[at] = largest[i] + log(totals[i]);
        }
    }
}

// A query's share of a key, and the gradient of their score, from what was summed for them.
__device__ inline void share(
    A& share, A& grad, const bool is_there, const bool is_hidden, const A log_sum, const A mean,
    const A scale, const int keys
) {
    if (!is_there) {
        share = grad = 0;
    } else if (is_hidden) {
        share = is_blind(log_sum) ? A(1) / A(keys) : A(0);
        grad = 0;
    } else {
        share = exp(share * scale - log_sum);
        grad = share * (grad - mean) * scale;
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) attention_queries(
    const int heads, const int key_heads, const int queries, const int keys, const int depth,
    const int value_depth, const int causal, const A scale, const int64 mask_batch,
    const int64 mask_head, const int64 mask_query, const int64 mask_key, const T* output_grad,
    const T* query, const T* key, const T* value, const T* output, const A* log_sums,
    const uint8* mask, T* query_grad, A* means
) {
    SHARED(A, buffer, BUFFER);
    SHARED(A, factors, TILE * LINE);
    const int64 sample = blockIdx.y / heads;
    const int head = blockIdx.y % heads, key_head = head / (heads / key_heads);
    const int first = blockIdx.x * TILE, begin = blockIdx.z * SLICE;
    const uint8* own_mask =
        mask == nullptr ? nullptr : mask + sample * mask_batch + head * mask_head;
    const Sight sight = {own_mask, mask_query, mask_key, causal};
    const Rows own = rows_of(query, sample, queries, first, heads, head, depth);
    const Rows grads = rows_of(output_grad, sample, queries, first, heads, head, value_depth);
    const Rows outputs = rows_of(output, sample, queries, first, heads, head, value_depth);
    A sums[ROWS][WIDTH], mean[ROWS], log_sum[ROWS];
    clear(sums);
#pragma unroll
    for (int i = 0; i < ROWS; ++i) {
        const int64 at = static_cast<int64>(blockIdx.y) * queries + first + own_row(i);
        A sum = 0;
        for (int j = threadIdx.x % LANES; j < value_depth; j += LANES) {
            sum += grads.get(own_row(i), j) * outputs.get(own_row(i), j);
        }
        mean[i] = over_lanes(sum, [](const A a, const A b) { return a + b; });
        log_sum[i] = own_row(i) < own.rows ? log_sums[at] : A(0);
        if (blockIdx.z == 0 && threadIdx.x % LANES == 0 && own_row(i) < own.rows) {
            means[at] = mean[i];
        }
    }
    // Hidden scores have no gradient, not even those of blind queries.
    const int end = causal ? min(keys, first + own.rows) : keys;
    for (int start = 0; start < end; start += TILE) {
        A shares[ROWS][COLUMNS], score_grads[ROWS][COLUMNS];
        const Rows others = rows_of(key, sample, keys, start, key_heads, key_head, depth);
        multiply(shares, own, others, buffer);
        const Rows values = rows_of(value, sample, keys, start, key_heads, key_head, value_depth);
        multiply(score_grads, grads, values, buffer);
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
                const int row = first + own_row(i), column = start + own_column(j);
                const bool is_there = row < queries && column < keys;
                const bool is_hidden = is_there && sight.hides(row, column);
                share(shares[i][j], score_grads[i][j], is_there, is_hidden, log_sum[i], mean[i],
                      scale, keys);
            }
        }
        put_tile(factors, score_grads);
        accumulate(sums, factors, others, begin, buffer);
    }
    const A ones[ROWS] = {1, 1};
    T* to = head_of(query_grad, sample, queries, first, heads, head, depth);
    write_rows(to, static_cast<int64>(heads) * depth, own.rows, depth, begin, sums, ones);
}

extern "C" __global__ void __launch_bounds__(THREADS, LEAST_BLOCKS) attention_keys(
    const int heads, const int key_heads, const int queries, const int keys, const int depth,
    const int value_depth, const int causal, const A scale, const int64 mask_batch,
    const int64 mask_head, const int64 mask_query, const int64 mask_key, const T* output_grad,
    const T* query, const T* key, const T* value, const A* log_sums, const A* means,
    const uint8* mask, T* key_grad, T* value_grad
) {
    SHARED(A, buffer, BUFFER);
    SHARED(A, factors, TILE * LINE);
    SHARED(int, flag, 1);
    const int64 sample = blockIdx.y / key_heads;
    const int key_head = blockIdx.y % key_heads, groups = heads / key_heads;
    const int first = blockIdx.x * TILE, begin = blockIdx.z * SLICE;
    const Rows own = rows_of(key, sample, keys, first, key_heads, key_head, depth);
    const Rows values = rows_of(value, sample, keys, first, key_heads, key_head, value_depth);
    A key_sums[ROWS][WIDTH], value_sums[ROWS][WIDTH];
    clear(key_sums);
    clear(value_sums);
    for (int head = key_head * groups; head < (key_head + 1) * groups; ++head) {
        const uint8* own_mask =
            mask == nullptr ? nullptr : mask + sample * mask_batch + head * mask_head;
        const Sight sight = {own_mask, mask_query, mask_key, causal};
        const int64 place = (sample * heads + head) * queries;
        for (int start = 0; start < queries; start += TILE) {
            if (causal && start + TILE - 1 < first) {
                // These queries see none of the keys; but each key counts for blind ones.
                if (mask == nullptr) continue;
                const int row = start + threadIdx.x % TILE;
                if (!any_of_block(row < queries && is_blind(log_sums[place + row]), flag)) continue;
            }
            const Rows others = rows_of(query, sample, queries, start, heads, head, depth);
            const Rows grads =
                rows_of(output_grad, sample, queries, start, heads, head, value_depth);
            A shares[ROWS][COLUMNS], score_grads[ROWS][COLUMNS];  // own rows are keys here
            multiply(shares, own, others, buffer);
            multiply(score_grads, values, grads, buffer);
#pragma unroll
            for (int j = 0; j < COLUMNS; ++j) {
                const int column = start + own_column(j);
                const A log_sum = column < queries ? log_sums[place + column] : A(0);
                const A mean = column < queries ? means[place + column] : A(0);
#pragma unroll
                for (int i = 0; i < ROWS; ++i) {
                    const int row = first + own_row(i);
                    const bool is_there = row < keys && column < queries;
                    const bool is_hidden = is_there && sight.hides(column, row);
                    share(shares[i][j], score_grads[i][j], is_there, is_hidden, log_sum, mean,
                          scale, keys);
                }
            }
            put_tile(factors, shares);
            accumulate(value_sums, factors, grads, begin, buffer);
            __syncthreads();  // the factors have been read
            put_tile(factors, score_grads);
            accumulate(key_sums, factors, others, begin, buffer);
        }
    }
    const A ones[ROWS] = {1, 1};
    T* to = head_of(key_grad, sample, keys, first, key_heads, key_head, depth);
    write_rows(to, static_cast<int64>(key_heads) * depth, own.rows, depth, begin, key_sums, ones);
    to = head_of(value_grad, sample, keys, first, key_heads, key_head, value_depth);
    write_rows(to, static_cast<int64>(key_heads) * value_depth, own.rows, value_depth, begin,
               value_sums, ones);
}
