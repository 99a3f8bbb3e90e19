// Runs CUDA kernels on the CPU: a kernel file is compiled by g++ after this header.
//
// The threads of a block are fibers that take turns in one thread of the system. A fiber runs until
// it meets a barrier or an exchange within its warp, and a warp as far as it can before the next one
// does; who goes first is the test's choice, so that a kernel that relies on an order it did not ask
// for gives other results. Blocks run one after another.
//
// What ends a launch with a message: threads of a block at different barriers, or gone while others
// wait; lanes of a warp that do not meet; shared memory written past its end, or more of it than a
// kernel can declare; a bad address, alignment or index (the compiler's checks trap, the arrays'
// guard pages fault). What is stricter than CUDA: a thread may not end before a barrier or an
// exchange that others wait at, and all that meet do so in the same line.
//
// This header includes none of the C++ library's, and shim_runtime.cpp holds what runs the fibers:
// every build of a kernel is compiled anew, so most of its time would go into those.

#pragma once

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __align__(bytes) alignas(bytes)
#define __launch_bounds__(...)

struct dim3 {
    unsigned int x, y, z;
};
extern dim3 threadIdx, blockIdx, blockDim, gridDim;

// The functions of math.h that kernels call, for both types.
#define SHIM_FUNCTION(name)                                  \
    extern "C" double name(double) noexcept;                 \
    extern "C" float name##f(float) noexcept;                \
    inline float name(const float x) { return name##f(x); }
SHIM_FUNCTION(erf)
SHIM_FUNCTION(exp)
SHIM_FUNCTION(expm1)
SHIM_FUNCTION(fabs)
SHIM_FUNCTION(log)
SHIM_FUNCTION(log1p)
SHIM_FUNCTION(sqrt)
SHIM_FUNCTION(tanh)
#undef SHIM_FUNCTION
extern "C" double cos(double) noexcept;
extern "C" double sin(double) noexcept;
inline double cospi(const double x) { return cos(3.14159265358979323846 * x); }
inline double sinpi(const double x) { return sin(3.14159265358979323846 * x); }
inline float cospif(const float x) { return static_cast<float>(cospi(static_cast<double>(x))); }
inline float sinpif(const float x) { return static_cast<float>(sinpi(static_cast<double>(x))); }

namespace shim {

constexpr int MOST_REGISTERS = 8;  // that the lanes of a warp give each other at once

enum State { READY, AT_BARRIER, IN_WARP, DONE };

extern int current;       // the thread that has its turn
extern int block_serial;  // of the block that runs: what an earlier one declared is gone

[[noreturn]] void fail(const char* what);

// Gives the turn back to the scheduler, and returns when it comes again.
void wait(State state, int line);

// Shared memory: each declaration takes its part of the arena when its first thread comes by.
struct Declaration {
    int serial = -1;
    unsigned char* address = nullptr;
};
void declare(Declaration& declaration, unsigned long bytes);

inline unsigned char* shared(Declaration& declaration, const unsigned long bytes) {
    if (declaration.serial != block_serial) declare(declaration, bytes);
    return declaration.address;
}

// Gives bits to the other lanes of the mask, and waits until all of them have come.
void exchange(unsigned int mask, unsigned long long bits, int line);
// Returns the bits that a lane of the mask has given.
unsigned long long taken_from(int lane);
// Where the current thread puts registers for its whole warp, and where another has put its own.
// There are two places by turns: what others still read is not written over.
unsigned int* next_deposit();
const unsigned int* deposit_of(int lane);

template <typename Value>
inline void exchange_value(const unsigned int mask, const Value value, const int line) {
    static_assert(sizeof(Value) <= 8, "lanes exchange up to 8 bytes");
    unsigned long long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(value));
    exchange(mask, bits, line);
}

template <typename Value>
inline Value from_lane(const int lane) {
    const unsigned long long bits = taken_from(lane);
    Value value;
    __builtin_memcpy(&value, &bits, sizeof(value));
    return value;
}

inline int lane() { return current % 32; }

// Gives several registers to all lanes of the warp, and waits until all have done so.
template <int COUNT>
inline void deposit(const unsigned int (&registers)[COUNT], const int line) {
    static_assert(COUNT <= MOST_REGISTERS, "lanes give each other fewer registers at once");
    __builtin_memcpy(next_deposit(), registers, sizeof(registers));
    exchange(0xffffffffu, 0, line);
}

// Register i that a lane has given; to be read before the next are given.
inline unsigned int deposited(const int lane, const int i) { return deposit_of(lane)[i]; }

template <typename Value>
inline Value shuffle(const unsigned int mask, const Value value, const int lane, const int line) {
    exchange_value(mask, value, line);
    // As CUDA has it, a lane out of range gives a lane its own value back.
    return from_lane<Value>(lane >= 0 && lane < 32 ? lane : current % 32);
}

inline unsigned int ballot(const unsigned int mask, const bool vote, const int line) {
    exchange_value(mask, vote, line);
    unsigned int votes = 0;
    for (int lane = 0; lane < 32; ++lane) {
        if (mask >> lane & 1) votes |= from_lane<bool>(lane) ? 1u << lane : 0u;
    }
    return votes;
}

inline unsigned int mask_of(const unsigned int mask = 0xffffffffu) { return mask; }

}  // namespace shim

#define SHARED(type, name, count)                                                      \
    static shim::Declaration name##_declaration;                                       \
    type(&name)[count] = *reinterpret_cast<type(*)[count]>(                            \
        shim::shared(name##_declaration, sizeof(type) * (count)))

#define __syncthreads() shim::wait(shim::AT_BARRIER, __LINE__)
#define __syncwarp(...) shim::exchange(shim::mask_of(__VA_ARGS__), 0, __LINE__)
#define __shfl_sync(mask, value, lane) shim::shuffle(mask, value, (lane) & 31, __LINE__)
#define __shfl_xor_sync(mask, value, bits) \
    shim::shuffle(mask, value, shim::current % 32 ^ (bits), __LINE__)
#define __shfl_down_sync(mask, value, distance) \
    shim::shuffle(mask, value, shim::current % 32 + (distance), __LINE__)
#define __ballot_sync(mask, vote) shim::ballot(mask, vote, __LINE__)

inline unsigned long long __umul64hi(const unsigned long long a, const unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}

template <typename Value>
inline Value min(const Value a, const Value b) { return b < a ? b : a; }
template <typename Value>
inline Value max(const Value a, const Value b) { return a < b ? b : a; }
