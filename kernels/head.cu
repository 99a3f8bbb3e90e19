// Purpose: the end of a classifier, forward and backward in one launch: one or two dense layers,
//          softmax and cross-entropy, and whether each sample is classified right.
//
// Formula: h = activate(x hidden_weight + hidden_bias), or x where there is no hidden layer;
//          logits = h weight + bias. Losses, probabilities and the gradient of the logits are as in
//          softmax.cu, the latter times `scale`; all other gradients follow from it. A hit is 1 if
//          the first largest probability is that of the label, or of the first largest label.
//
// Layout:  arrays are contiguous and of type T. x and input_grad are (batch, inputs), the weights
//          (inputs, units) and (units, classes), or without a hidden layer, where units is 0, only
//          (inputs, classes); a bias is like one more row of them, or null; labels are of type L,
//          (batch,) class numbers if SPARSE, else (batch, classes); losses and hits are (batch,),
//          probabilities (batch, classes). input_grad may be null.
//          Block b writes what its samples give to the gradients of the last layer, of its weights
//          and then of its bias, as a run of `size` from parts[first + b size] on; likewise those
//          of the hidden layer, from hidden_first on. step.cu adds the parts up.
//
// Threads: blocks of 256, each with `chunk` samples, SAMPLES at a time. The weights stay in shared
//          memory. A sum over a layer's inputs or units is shared by 8 or 4 neighbouring threads,
//          for 4 samples at once; softmax takes a warp for each sample; in a part of a weight's
//          gradient lane i has every 32nd column, and the warps take turns at the rows.
//
// Limits:  chunk is a multiple of SAMPLES, which is 4 or 8, and no block is without samples. Both
//          layers, their inputs and their gradients fit into 48 KiB, as head.py counts: up to some
//          10,000 weights of float32. A class number out of range makes a sample's loss and its
//          gradient NaN, and nothing is read out of bounds.
// Registers: at most 128 a thread: there are no more blocks than multiprocessors.

#include "activation.cuh"
#include "pooling.cuh"
#include "softmax.cuh"

constexpr int WARPS = 8, THREADS = WARPS * WARP;
constexpr int MEMORY = (48 << 10) / sizeof(A);
constexpr int GROUP = 4, GROUPS = SAMPLES / GROUP;  // samples whose sums a thread makes at once
constexpr int FORWARD_SLICES = 8, BACKWARD_SLICES = 4;  // threads that share a sum
static_assert(SAMPLES % GROUP == 0 && SAMPLES <= WARPS, "a warp has a sample, a thread a group");

__device__ inline int lane_index() { return threadIdx.x % WARP; }
__device__ inline int warp_index() { return threadIdx.x / WARP; }

// What COUNT neighbouring lanes have, taken together in a fixed order; each gets the result.
template <int COUNT, typename Operation>
__device__ inline A among(A value) {
    for (int distance = COUNT / 2; distance > 0; distance /= 2) {
        value = Operation::of(value, __shfl_xor_sync(WHOLE_WARP, value, distance));
    }
    return value;
}

// A layer as a block has it in shared memory. Its bias is one more row of its weights, whose input
// is always 1.
struct Layer {
    int inputs, units, rows;
    int line;    // from one row of weights to the next: slices then read from different banks
    A* weights;  // (rows, line)
    A* x;        // (rows, SAMPLES)
    A* grad;     // (units, SAMPLES), of what is activated; before it the logits, in the last layer
    T* part;     // (rows, units), in global memory

    // Takes its arrays from what is free of the memory.
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
#pragma unroll 8  // so many loads under way at once
            for (int row = warp_index(); row < rows; row += WARPS) {
                weights[row * line + unit] = (row < inputs ? weight + row * units : bias)[unit];
            }
        }
        if (rows > inputs && threadIdx.x < SAMPLES) x[inputs * SAMPLES + threadIdx.x] = 1;
    }

    // Adds what these samples give to the gradient of the weights to the block's part.
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

// Calls store(i, sample, sum over k of given[k, sample] * weights[i * step + k * next]) for each i
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
        A own = 0;  // of the first slices each has one of the samples
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

// Where the first largest of values(0) to values(count - 1) is; all lanes of the warp take part.
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

// A label as it is compared with others.
template <typename Label>
__device__ inline Label ordered(const Label label) { return label; }
__device__ inline float ordered(const float16 label) { return widen(label); }
__device__ inline float ordered(const bfloat16 label) { return widen(label); }

// What the labels say of the results, and where that goes.
struct Scores {
    const int classes;
    const A scale;
    const L* labels;
    T *losses, *probabilities;
    uint8* hits;

    __device__ A label_of(const int64 sample, const int c, const int64 number) const {
        return SPARSE ? A(c == number) : probability(labels[sample * classes + c]);
    }

    // Puts the gradient in the place of a sample's logits, a column of (classes, SAMPLES). All
    // lanes of a warp take part; most often a lane has one class at most.
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

// The samples that a block has at a time.
struct Tile {
    const int64 first;
    const int count;

    // A sample past the end has no share in a gradient, whatever the weights are.
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
    const bool is_deep = units > 0;  // or the hidden layer is of no size
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
