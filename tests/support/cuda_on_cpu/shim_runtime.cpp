// Runs the fibers of shim.h: the scheduler, shared memory, and a launch as a whole. Compiled once.

#include "shim.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace shim {

constexpr int MOST_THREADS = 1024;
constexpr size_t STACK_BYTES = 1 << 16;
constexpr size_t SHARED_BYTES = 48 << 10;  // the most that a kernel can declare on any device
constexpr int MOST_DECLARATIONS = 64;
constexpr size_t CANARY_BYTES = 64;
constexpr unsigned char POISON = 0xff;

struct Fiber {
    ucontext_t context;
    jmp_buf place;
    State state;
    int line;                      // of the barrier or exchange it waits at
    unsigned int mask;             // the lanes that take part in the exchange
    unsigned long long given;      // its value in the exchange
    unsigned long long taken[32];  // those of all lanes, once they have met
    unsigned int deposits[2][MOST_REGISTERS];
    int turn;  // which of them was given last
};

static Fiber fibers[MOST_THREADS];
static bool alive[MOST_THREADS];  // has a stack that waits for the next block
static char* stacks;
int current, block_serial;
static int threads;
static ucontext_t scheduler;
static jmp_buf scheduler_place;
static sigjmp_buf way_out;
static char message[512];
static void (*entry)(void**);
static void** entry_arguments;

[[noreturn]] void fail(const char* what) {
    snprintf(message, sizeof(message), "%s (block %u,%u,%u thread %d)", what, blockIdx.x, blockIdx.y,
             blockIdx.z, current);
    siglongjmp(way_out, 1);
}

void wait(const State state, const int line) {
    Fiber& fiber = fibers[current];
    fiber.state = state;
    fiber.line = line;
    if (!_setjmp(fiber.place)) _longjmp(scheduler_place, 1);
}

static void live() {
    for (;;) {  // a fiber serves one block after another
        entry(entry_arguments);
        wait(DONE, 0);
    }
}

alignas(16) static unsigned char arena[SHARED_BYTES + MOST_DECLARATIONS * (CANARY_BYTES + 16)];
static size_t arena_used, declared;
static struct { size_t begin, end; } canaries[MOST_DECLARATIONS];
static int canary_count;
static unsigned char canary;  // differs between orders, as what is read from it then does

static void add_canary() {  // what comes after it is aligned again
    const size_t end = (arena_used + CANARY_BYTES + 15) / 16 * 16;
    memset(arena + arena_used, canary, end - arena_used);
    canaries[canary_count++] = {arena_used, end};
    arena_used = end;
}

void declare(Declaration& declaration, const size_t bytes) {
    declared += bytes;
    if (declared > SHARED_BYTES || canary_count == MOST_DECLARATIONS) {
        fail("the kernel declares more shared memory than the 48 KiB that it can");
    }
    declaration.serial = block_serial;
    declaration.address = arena + arena_used;
    memset(declaration.address, POISON, bytes);
    arena_used += bytes;
    add_canary();
}

static void check_canaries() {
    for (int i = 0; i < canary_count; ++i) {
        for (size_t j = canaries[i].begin; j < canaries[i].end; ++j) {
            if (arena[j] != canary) fail("shared memory was written out of bounds");
        }
    }
}

void exchange(const unsigned int mask, const unsigned long long bits, const int line) {
    Fiber& fiber = fibers[current];
    if (!(mask >> (current % 32) & 1)) fail("a lane takes part in an exchange that leaves it out");
    fiber.mask = mask;
    fiber.given = bits;
    wait(IN_WARP, line);
}

unsigned long long taken_from(const int lane) {
    const Fiber& fiber = fibers[current];
    if (!(fiber.mask >> lane & 1)) fail("a lane reads from one that the mask leaves out");
    return fiber.taken[lane];
}

unsigned int* next_deposit() {
    Fiber& fiber = fibers[current];
    fiber.turn ^= 1;
    return fiber.deposits[fiber.turn];
}

const unsigned int* deposit_of(const int lane) {
    return fibers[current / 32 * 32 + lane].deposits[fibers[current].turn];
}

static bool meets(const Fiber& one, const Fiber& other) {
    return other.state == IN_WARP && other.line == one.line && other.mask == one.mask;
}

// Lets the lanes of an exchange go on if the given thread is the last of them to come.
static void release_exchange(const int thread) {
    const Fiber& fiber = fibers[thread];
    Fiber* warp = fibers + thread / 32 * 32;
    for (int lane = 0; lane < 32; ++lane) {
        if (fiber.mask >> lane & 1 && !meets(fiber, warp[lane])) return;
    }
    for (int lane = 0; lane < 32; ++lane) {
        if (!(fiber.mask >> lane & 1)) continue;
        warp[lane].state = READY;
        for (int from = 0; from < 32; ++from) warp[lane].taken[from] = warp[from].given;
    }
}

// Fails with the reason why no waiting thread can continue.
[[noreturn]] static void explain() {
    for (current = 0; current < threads; ++current) {
        const Fiber& fiber = fibers[current];
        if (fiber.state != IN_WARP) continue;
        for (int lane = 0; lane < 32; ++lane) {
            const Fiber& other = fibers[current / 32 * 32 + lane];
            if (!(fiber.mask >> lane & 1) || meets(fiber, other)) continue;
            if (other.state == DONE) fail("a mask names a lane that has ended");
            if (other.state == IN_WARP) fail("lanes of a warp meet at different exchanges");
            fail("a mask names a lane that waits at a barrier");
        }
    }
    int first = -1;
    for (current = 0; current < threads; ++current) {
        if (fibers[current].state != AT_BARRIER) continue;
        if (first < 0) first = current;
        if (fibers[current].line != fibers[first].line) {
            fail("threads of a block wait at different barriers");
        }
    }
    current = first;
    fail("a thread waits at a barrier, and another of its block has ended");
}

static void run_fiber(const int thread) {
    current = thread;
    threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y,
                 thread / (blockDim.x * blockDim.y)};
    if (_setjmp(scheduler_place)) return;
    if (alive[thread]) _longjmp(fibers[thread].place, 1);
    if (!stacks) stacks = static_cast<char*>(malloc(MOST_THREADS * STACK_BYTES));
    Fiber& fiber = fibers[thread];
    alive[thread] = true;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = stacks + thread * STACK_BYTES;
    fiber.context.uc_stack.ss_size = STACK_BYTES;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, live, 0);
    setcontext(&fiber.context);
}

static bool release_barrier() {
    for (int i = 0; i < threads; ++i) {
        if (fibers[i].state != AT_BARRIER || fibers[i].line != fibers[0].line) return false;
    }
    for (int i = 0; i < threads; ++i) fibers[i].state = READY;
    return true;
}

// Runs the lanes until none can go on; returns how many have ended.
static int run_warp(const int* order) {
    int done = 0;
    for (bool moved = true; moved;) {
        moved = false;
        done = 0;
        for (int i = 0; i < 32; ++i) {
            const Fiber& fiber = fibers[order[i]];
            if (fiber.state == READY) {
                moved = true;
                run_fiber(order[i]);
                if (fiber.state == IN_WARP) release_exchange(order[i]);
            }
            done += fiber.state == DONE;
        }
    }
    return done;
}

static void run_block(const int* order) {
    ++block_serial;
    arena_used = declared = 0;
    canary_count = 0;
    add_canary();
    for (int i = 0; i < threads; ++i) {
        fibers[i].state = READY;
        fibers[i].turn = 0;
    }
    for (;;) {
        int done = 0;
        for (int first = 0; first < threads; first += 32) done += run_warp(order + first);
        if (done == threads) break;
        if (!release_barrier()) explain();
    }
    check_canaries();
}

static unsigned long long next_random(unsigned long long& state) {  // an LCG of Knuth's
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return state >> 33;
}

// 0: forward; 1: reverse; other numbers are seeds of an order at random.
static void make_order(int* order, const int count, const unsigned long long seed) {
    unsigned long long state = seed;
    for (int i = 0; i < count; ++i) order[i] = seed == 1 ? count - 1 - i : i;
    for (int i = count - 1; seed > 1 && i > 0; --i) {
        const int j = static_cast<int>(next_random(state) % (i + 1)), kept = order[i];
        order[i] = order[j];
        order[j] = kept;
    }
}

// The lanes of a warp stay together.
static void make_thread_order(int* order, const unsigned long long seed) {
    int warps[MOST_THREADS / 32], lanes[32];
    make_order(warps, threads / 32, seed);
    for (int i = 0; i < threads; ++i) {
        if (i % 32 == 0) make_order(lanes, 32, seed > 1 ? seed + i : seed);
        order[i] = warps[i / 32] * 32 + lanes[i % 32];
    }
}

static void on_signal(const int signal, siginfo_t* info, void*) {
    const char* what = signal == SIGSEGV || signal == SIGBUS
        ? "an address outside the arrays was read or written"
        : "a misaligned address, an index out of range or an overflow";
    snprintf(message, sizeof(message), "%s (block %u,%u,%u thread %d, address %p)", what, blockIdx.x,
             blockIdx.y, blockIdx.z, current, info->si_addr);
    siglongjmp(way_out, 1);
}

constexpr int SIGNALS[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};

}  // namespace shim

// Runs a whole launch; returns null, or what went wrong.
extern "C" const char* shim_launch(
    void (*entry)(void**), void** arguments, const unsigned int* grid, const unsigned int* block,
    const unsigned long long order_seed
) {
    using namespace shim;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    threads = static_cast<int>(block[0] * block[1] * block[2]);
    const int blocks = static_cast<int>(grid[0] * grid[1] * grid[2]);
    if (threads < 1 || threads > MOST_THREADS || threads % 32) {
        return "a block needs whole warps, up to 1024 threads";
    }
    shim::entry = entry;
    entry_arguments = arguments;
    static int thread_order[MOST_THREADS];
    make_thread_order(thread_order, order_seed);
    int* block_order = static_cast<int*>(malloc(sizeof(int) * blocks));
    make_order(block_order, blocks, order_seed);
    canary = order_seed ? 0xff : 0xa5;

    static char signal_stack[1 << 16];
    stack_t own = {}, other;
    own.ss_sp = signal_stack;
    own.ss_size = sizeof(signal_stack);
    sigaltstack(&own, &other);
    struct sigaction action = {}, before[5];
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int i = 0; i < 5; ++i) sigaction(SIGNALS[i], &action, &before[i]);
    const char* failed = nullptr;
    if (sigsetjmp(way_out, 1)) {
        failed = message;
        memset(alive, 0, sizeof(alive));  // stopped in the middle: none can be continued
    } else {
        for (int i = 0; i < blocks; ++i) {
            const unsigned int b = block_order[i];
            blockIdx = {b % grid[0], b / grid[0] % grid[1], b / (grid[0] * grid[1])};
            run_block(thread_order);
        }
    }
    for (int i = 0; i < 5; ++i) sigaction(SIGNALS[i], &before[i], nullptr);
    sigaltstack(&other, nullptr);
    free(block_order);
    return failed;
}
