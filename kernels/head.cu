// Purpose: the end of a classifier, forward and backward in one launch: one or two dense layers,
//          softmax, cross-entropy, and whether each sample is classified correctly.
//
// Formula: h = activate(x hidden_weight + hidden_bias), or x without a hidden layer;
//          logits = h weight + bias. Losses, probabilities and the gradient of the logits are as in
//          softmax.cu, the gradient times `scale`; backpropagation gives all others. A hit is 1 if
//          the first largest probability is at the label, or at the first largest label.
//
// Layout:  arrays are contiguous and of type T. x and input_grad are (batch, inputs), the weights
//          (inputs, units) and (units, classes); without a hidden layer units is 0 and the weights
//          are (inputs, classes). A bias is one more row of the weights, or null. Labels of type L
//          are (batch,) class numbers if SPARSE, else (batch, classes); losses and hits are
//          (batch,), probabilities (batch, classes). input_grad may be null.
//          Block b writes its partial gradient of the last layer (weights, then bias), `size`
//          numbers, to parts[first + b size]; the hidden layer's likewise, from hidden_first.
//          step.cu adds the parts up.
//
// Threads: blocks of 256, each with `chunk` samples, SAMPLES at a time. The weights stay in shared
//          memory. Sums over a layer's inputs (8 threads) or units (4 threads) are shared by
//          neighbouring threads, for 4 samples at once. Softmax takes one warp a sample. For weight
//          gradients, lane i has every 32nd column, and the warps alternate over the rows.
//
// Limits:  chunk is a multiple of SAMPLES, which is 4 or 8; no block is without samples. Both
//          layers, their inputs and their gradients fit into 48 KiB, as head.py counts: up to about
//          10,000 weights of float32. A class number out of range makes the sample's loss and
//          gradient NaN; nothing is read out of bounds.
// Registers: at most 128 a thread: there are at most as many blocks as multiprocessors.

#include "activation.cuh"
#include "pooling.cuh"
#include "softmax.cuh"

constexpr int WARPS = 8, THREADS = WARPS * WARP;
constexpr int MEMORY = (48 << 10) / sizeof(A);
constexpr int GROUP = 4, GROUPS = SAMPLES / GROUP;  // samples per thread and sum
constexpr int FORWARD_SLICES = 8, BACKWARD_SLICES = 4;  // threads that share a sum
static_assert(SAMPLES % GROUP == 0 && SAMPLES <= WARPS, "a warp has a sample, a thread a group");

__device__ inline int lane_index() { return threadIdx.x % WARP; }
__device__ inline int warp_index() { return threadIdx.x / WARP; }

// Reduce the values of COUNT neighbouring lanes in a fixed order; each lane gets the result.
template <int COUNT, typename Operation>
__device__ inline A among(A value) {
    for (int distance = COUNT / 2; distance > 0; distance /= 2) {
        value = Operation::of(value, __shfl_xor_sync(WHOLE_WARP, value, distance));
    }
    return value;
}

// A layer in the block's shared memory. The bias is one more row of the weights, with constant
// input 1.
struct Layer {
    int inputs, units, rows;
    int line;    // stride between rows of weights: slices read from different banks
    A* weights;  // (rows, line)
    A* x;        // (rows, SAMPLES)
    A* grad;     // (units, SAMPLES), before the activation; in the last layer first the logits
    T* part;     // (rows, units), in global memory

    // Allocate the arrays from `free`, and advance it.
    __device__ Layer(
        A*& free, const int inputs, const int units, const bool with_bias, T* parts
    ) : inputs(inputs), units(units), rows(inputs + with_bias), line((units + 3) / 8 * 8 + 4) {
        weights = free;
        x = weights + rows * line;
        grad = x + rows * SAMPLES;
        free = grad + units * SAMPLES;
        part = parts + static_cast<int64>(blockIdx.x) * rows * units;
    }

    __device__ void load(const T* weight, const T* bias) const {
        for (int unit = lane_index(); unit < units; unit += WARP) {
#pragma unroll 8  // loads in flight
            for (int row = warp_index(); row < rows; row += WARPS) {
                weights[row * line + unit] = (row < inputs ? weight + row * units : bias)[unit];
            }
        }
        if (rows > inputs && threadIdx.x < SAMPLES) x[inputs * SAMPLES + threadIdx.x] = 1;
    }

    // Add the weight gradient of these samples to the block's part.
    __device__ void add_to_part(const bool is_first) const {
        for (int unit = lane_index(); unit < units; unit += WARP) {
            const Vector<A, SAMPLES> grads = load_vector<SAMPLES>(grad + unit * SAMPLES);
#pragma unroll 4
            for (int row = warp_index(); row < rows; row += WARPS) {
                const Vector<A, SAMPLES> given = load_vector<SAMPLES>(x + row * SAMPLES);
                T* place = part + row * units + unit;
                A sum = is_first ? A(0) : *place;
                for (int i = 0; i < SAMPLES; ++i) sum += given.values[i] * grads.values[i];
                *place = sum;
            }
        }
    }
};

// Call store(i, sample, sum over k of given[k, sample] * weights[i * step + k * next]) for each i
// below `count` and each sample. All threads of the block take part.
template <int SLICES, typename Store>
__device__ inline void multiply(
    const A* given, const int length, const A* weights, const int step, const int next,
    const int count, const Store& store
) {
    const int slice = threadIdx.x % SLICES;
    for (int first = 0; first < count * GROUPS; first += THREADS / SLICES) {
        const int item = first + threadIdx.x / SLICES;
        const int i = item / GROUPS, sample = item % GROUPS * GROUP;
        const int end = i < count ? length : 0;
        A sums[GROUP] = {};
#pragma unroll 4
        for (int k = slice; k < end; k += SLICES) {
            const A weight = weights[i * step + k * next];
            const Vector<A, GROUP> factors = load_vector<GROUP>(given + k * SAMPLES + sample);
            for (int j = 0; j < GROUP; ++j) sums[j] += factors.values[j] * weight;
        }
        A own = 0;  // each of the first slices stores one sample
        for (int j = 0; j < GROUP; ++j) {
            const A sum = among<SLICES, Sum>(sums[j]);
            if (slice == j) own = sum;
        }
        if (i < count && slice < GROUP) store(i, sample + slice, own);
    }
}

template <typename Store>
__device__ inline void forward(const Layer& layer, const Store& store) {
    multiply<FORWARD_SLICES>(
        layer.x, layer.rows, layer.weights, 1, layer.line, layer.units, store
    );
}

template <typename Store>
__device__ inline void backward(const Layer& layer, const Store& store) {
    multiply<BACKWARD_SLICES>(
        layer.grad, layer.units, layer.weights, layer.line, 1, layer.inputs, store
    );
}

// Return the index of the first largest of values(0 to count - 1). All lanes of the warp take part.
template <typename Values>
__device__ inline int first_largest(const int count, const Values& values) {
    int place = min(lane_index(), count - 1);
    auto largest = values(place);
#pragma unroll 1
    for (int i = place + WARP; i < count; i += WARP) {
        const auto value = values(i);
        if (beats(value, largest)) largest = value, place = i;
    }
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        const decltype(largest) other = __shfl_xor_sync(WHOLE_WARP, largest, distance);
        const int other_place = __shfl_xor_sync(WHOLE_WARP, place, distance);
        const bool earlier = other_place < place && !beats(largest, other);
        if (earlier || beats(other, largest)) largest = other, place = other_place;
    }
    return place;
}

// Return a label in a type that compares.
template <typename Label>
__device__ inline Label ordered(const Label label) { return label; }
__device__ inline float ordered(const float16 label) { return widen(label); }
__device__ inline float ordered(const bfloat16 label) { return widen(label); }

// Computes losses, probabilities, hits and the gradient of the logits, and stores them.
struct Scores {
    const int classes;
    const A scale;
    const L* labels;
    T *losses, *probabilities;
    uint8* hits;

    __device__ A label_of(const int64 sample, const int c, const int64 number) const {
        return SPARSE ? A(c == number) : probability(labels[sample * classes + c]);
    }

    // Replace a sample's logits, a column of (classes, SAMPLES), by their gradient. All lanes of a
    // warp take part; usually a lane has at most one class.
    __device__ void score(A* logits, const int64 sample) const {
        const int lane = lane_index();
        const int64 number = SPARSE ? class_number(labels[sample], classes) : -1;
        A largest = -infinity(), sum = 0, chosen = 0, label_sum = 0;
#pragma unroll 1
        for (int c = lane; c < classes; c += WARP) largest = Max::of(largest, logits[c * SAMPLES]);
        largest = among<WARP, Max>(largest);
#pragma unroll 1
        for (int c = lane; c < classes; c += WARP) {
            const A logit = logits[c * SAMPLES] - largest, label = label_of(sample, c, number);
            sum += exp(logit);
            label_sum += label;
            if (label != 0) chosen += label * logit;
        }
        sum = among<WARP, Sum>(sum), chosen = among<WARP, Sum>(chosen);
        label_sum = among<WARP, Sum>(label_sum);
        if (SPARSE && number < 0) label_sum = not_a_number();
#pragma unroll 1
        for (int c = lane; c < classes; c += WARP) {
            const A share = exp(logits[c * SAMPLES] - largest) / sum;
            probabilities[sample * classes + c] = logits[c * SAMPLES] = share;
        }
        __syncwarp();
        const int64 right = SPARSE ? number : first_largest(classes, [&](const int c) {
            return ordered(labels[sample * classes + c]);
        });
        const int guess = first_largest(classes, [&](const int c) { return logits[c * SAMPLES]; });
        __syncwarp();
#pragma unroll 1
        for (int c = lane; c < classes; c += WARP) {
            const A label = label_of(sample, c, number);
            logits[c * SAMPLES] = (logits[c * SAMPLES] * label_sum - label) * scale;
        }
        if (lane > 0) return;
        losses[sample] = log(sum) * label_sum - chosen;
        hits[sample] = guess == right;
    }
};

// The samples that a block processes at once.
struct Tile {
    const int64 first;
    const int count;

    // Return 0 for samples past the end: they add nothing to a gradient, whatever the weights are.
    __device__ A if_there(const int sample, const A value) const {
        return sample < count ? value : A(0);
    }

    __device__ void load(const Layer& layer, const T* x) const {
        const int sample = warp_index();
        if (sample >= SAMPLES) return;
        const T* from = x + (first + min(sample, count - 1)) * layer.inputs;
#pragma unroll 2
        for (int k = lane_index(); k < layer.inputs; k += WARP) {
            layer.x[k * SAMPLES + sample] = if_there(sample, from[k]);
        }
    }

    __device__ void activate_hidden(const Layer& hidden, const Layer& last) const {
        forward(hidden, [&](const int i, const int sample, const A sum) {
            last.x[i * SAMPLES + sample] = if_there(sample, activate(sum, A(FUSED_OPTION)));
        });
    }

    __device__ void score(const Layer& last, const Scores& scores) const {
        forward(last, [&](const int i, const int sample, const A sum) {
            last.grad[i * SAMPLES + sample] = if_there(sample, sum);
        });
        __syncthreads();
        const int sample = warp_index();
        if (sample < count) scores.score(last.grad + sample, first + sample);
    }

    __device__ void grad_of_hidden(const Layer& last, const Layer& hidden) const {
        backward(last, [&](const int i, const int sample, const A sum) {
            const A saved = last.x[i * SAMPLES + sample];
            hidden.grad[i * SAMPLES + sample] =
                if_there(sample, activate_backward(sum, saved, A(FUSED_OPTION)));
        });
    }

    __device__ void grad_of_input(const Layer& layer, T* input_grad) const {
        backward(layer, [&](const int i, const int sample, const A sum) {
            if (sample < count) input_grad[(first + sample) * layer.inputs + i] = sum;
        });
    }
};

extern "C" __global__ void __launch_bounds__(THREADS, 1) dense_cross_entropy(
    const int batch, const int chunk, const int inputs, const int units, const int classes,
    const A scale, const T* x, const T* hidden_weight, const T* hidden_bias, const T* weight,
    const T* bias, const L* labels, T* losses, T* probabilities, uint8* hits, T* input_grad,
    T* parts, const int64 hidden_first, const int64 first
) {
    SHARED(A, memory, MEMORY);
    A* free = memory;
    const bool is_deep = units > 0;  // has a hidden layer
    const Layer hidden(
        free, is_deep ? inputs : 0, units, hidden_bias != nullptr, parts + hidden_first
    );
    const Layer last(free, is_deep ? units : inputs, classes, bias != nullptr, parts + first);
    const Layer lowest = is_deep ? hidden : last;
    const Scores scores = {classes, scale, labels, losses, probabilities, hits};
    const int64 begin = static_cast<int64>(blockIdx.x) * chunk;
    const int64 end = min(begin + chunk, static_cast<int64>(batch));

    hidden.load(hidden_weight, hidden_bias);
    last.load(weight, bias);
    for (int64 now = begin; now < end; now += SAMPLES) {
        const Tile tile = {now, static_cast<int>(min(end - now, static_cast<int64>(SAMPLES)))};
        tile.load(lowest, x);
        __syncthreads();
        if (is_deep) {
            tile.activate_hidden(hidden, last);
            __syncthreads();
        }
        tile.score(last, scores);
        __syncthreads();
        last.add_to_part(now == begin);
        if (is_deep) {
            tile.grad_of_hidden(last, hidden);
            __syncthreads();
            hidden.add_to_part(now == begin);
        }
        if (input_grad != nullptr) tile.grad_of_input(lowest, input_grad);
        __syncthreads();  // what is in the tiles has been read
    }
}
