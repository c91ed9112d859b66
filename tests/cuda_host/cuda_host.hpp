// Runs CUDA C++ kernels on the CPU, for tests: what a kernel's text needs of the CUDA language.
//
// One thread of the operating system does everything. Every CUDA thread is a fiber: a stack of its
// own and a place to continue at. A fiber runs until it has to wait for others, and then hands over
// to the scheduler, which resumes fibers in an order drawn from a seed (seed 0: by number).
//
//  * Block barriers, warp collectives and grid_sync are true meeting points. Where one is missing,
//    some thread reads before another has written, in an order that depends on the seed.
//  * Shared memory is filled with 0xFF, which is NaN, when a block begins.
//  * What would hang or be undefined on a GPU ends the launch with a message: a deadlock, a
//    collective called by a lane outside its mask or waiting for a lane that has exited, block
//    barriers at different lines.
//
// Where CUDA leaves something open, this is what happens here:
//
//  * Lanes of the last warp that do not exist, because the block is not a multiple of 32, may be
//    named in a mask: GPUs ignore them. Lanes that existed and have exited may not.
//  * A shuffle that reads a lane outside the mask or one that does not exist yields 0xFF bytes,
//    NaN: many reductions throw such values away, so it is no error by itself.
//  * A thread that has exited is not waited for by block barriers.
//  * Blocks run one after another, each to its end; those of a cooperative launch in turns.
//
// Limits:
//
//  * A fiber is never interrupted: a loop that waits for memory to change never ends, and races are
//    seen between meeting points only.
//  * No dynamic shared memory (extern __shared__), textures or cooperative groups.
//  * __launch_bounds__ and the size of shared memory are not checked.
//  * The floating-point functions are the C library's, which differ from a GPU's by an ulp or two.
//  * A wrong address does what it does in C; the sanitizers find it (sanitized.py).
//
// A shared variable may stand in any function or template, because kernels are included within an
// unnamed namespace: elsewhere GCC cannot put those of templates into one section with others.
//
// For kernels that have to know: FASTNET_HOST is defined.
#pragma once
#define FASTNET_HOST 1

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <type_traits>
#include <utility>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// -- types ----------------------------------------------------------------------------------------

// Everything is local to the library: several are loaded at once, and must not share their state.
namespace {

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define FASTNET_HOST_VECTORS(scalar, name, align2, align4)                                         \
    struct alignas(align2) name##2 {                                                               \
        scalar x, y;                                                                               \
    };                                                                                             \
    struct name##3 {                                                                               \
        scalar x, y, z;                                                                            \
    };                                                                                             \
    struct alignas(align4) name##4 {                                                               \
        scalar x, y, z, w;                                                                         \
    };                                                                                             \
    inline name##2 make_##name##2(scalar x, scalar y) { return {x, y}; }                           \
    inline name##3 make_##name##3(scalar x, scalar y, scalar z) { return {x, y, z}; }              \
    inline name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { return {x, y, z, w}; }

FASTNET_HOST_VECTORS(float, float, 8, 16)
FASTNET_HOST_VECTORS(double, double, 16, 16)
FASTNET_HOST_VECTORS(int, int, 8, 16)
FASTNET_HOST_VECTORS(unsigned char, uchar, 2, 4)
#undef FASTNET_HOST_VECTORS

constexpr int warpSize = 32;

}  // namespace

// -- fibers ---------------------------------------------------------------------------------------

namespace fastnet_host {
namespace {

#ifdef __SANITIZE_ADDRESS__
constexpr size_t STACK = 256 * 1024;  // its frames are larger
#else
constexpr size_t STACK = 64 * 1024;
#endif
constexpr size_t STACKS_AT_ONCE = 64;
constexpr unsigned long long CANARY = 0x5afe57acc0ffee11ull;  // overwritten by a stack overflow
constexpr long long MOST_RESIDENT = 65536;  // threads of a cooperative launch

enum class State : unsigned char { ready, at_warp, at_block, at_grid, exited };

// A call that waits: its name, and where it stands in the kernels' text.
struct Site {
    const char* call;
    const char* file;
    int line;

    bool operator==(const Site& other) const {
        return line == other.line && same(call, other.call) && same(file, other.file);
    }
    static bool same(const char* a, const char* b) { return a == b || !strcmp(a, b); }
};

struct Fiber {
    uint3 thread, block;
    jmp_buf context;
    char* stack = nullptr;
    int lane = 0;
    State state = State::exited;
    bool started = false;  // it has a context to continue at
    void* fake_stack = nullptr;  // the sanitizer's

    // What it waits for, and what it brings to the meeting and receives there.
    Site site{};
    unsigned mask = 0;
    int source = 0;
    unsigned long long brought = 0, received = 0;
};

Fiber* current = nullptr;
jmp_buf scheduler;
std::vector<Fiber> fibers;
dim3 grid_size, block_size;
void (*body)(void*) = nullptr;
void* body_argument = nullptr;
char message[512];  // empty while all is well

bool failed() { return message[0] != 0; }

// The fibers to run next, in this order, before the scheduler has its turn.
Fiber* queue[warpSize];
int queued = 0, taken = 0;

#ifdef __SANITIZE_ADDRESS__
// The sanitizer has to be told on which stack it is. Here every switch goes by the scheduler.
void* scheduler_fake_stack = nullptr;
const void* scheduler_stack = nullptr;
size_t scheduler_stack_size = 0;

void before_switch_to(Fiber& fiber) {
    __sanitizer_start_switch_fiber(&scheduler_fake_stack, fiber.stack, STACK);
}
void back_in_scheduler() {
    __sanitizer_finish_switch_fiber(scheduler_fake_stack, nullptr, nullptr);
}
void before_switch_to_scheduler() {
    __sanitizer_start_switch_fiber(&current->fake_stack, scheduler_stack, scheduler_stack_size);
}
void back_in_fiber() {
    __sanitizer_finish_switch_fiber(current->fake_stack, &scheduler_stack, &scheduler_stack_size);
}
void forget_frames(Fiber& fiber) {
    fiber.fake_stack = nullptr;
    ASAN_UNPOISON_MEMORY_REGION(fiber.stack, STACK);
}
bool goes_straight_to_the_next() { return false; }
#else
void before_switch_to(Fiber&) {}
void back_in_scheduler() {}
void before_switch_to_scheduler() {}
void back_in_fiber() {}
void forget_frames(Fiber&) {}
bool goes_straight_to_the_next() { return taken < queued && !failed(); }
#endif

void start(Fiber& fiber);

[[noreturn]] void go_to(Fiber& fiber) {
    current = &fiber;
    if (!fiber.started) start(fiber);
    _longjmp(fiber.context, 1);
}

// Let others run; returns when this fiber is resumed. They may have changed any memory, and the
// compiler has to know.
__attribute__((noinline)) void leave() {
    before_switch_to_scheduler();
    if (!_setjmp(current->context)) {
        if (goes_straight_to_the_next()) go_to(*queue[taken++]);
        _longjmp(scheduler, 1);
    }
    __asm__ volatile("" ::: "memory");
    back_in_fiber();
}

// A fiber outlives its CUDA thread: starting one costs a system call, running the next does not.
void life_of_a_fiber() {
    back_in_fiber();
    for (;;) {
        body(body_argument);
        current->state = State::exited;
        if (memcmp(current->stack, &CANARY, sizeof CANARY))
            snprintf(message, sizeof message, "a thread needs more than %zu KiB of stack",
                     STACK / 1024);
        leave();
    }
}

void start(Fiber& fiber) {
    static ucontext_t begin;
    getcontext(&begin);
    forget_frames(fiber);
    fiber.started = true;
    memcpy(fiber.stack, &CANARY, sizeof CANARY);
    // Different tops: at equal offsets all stacks would compete for the same lines of the cache.
    const size_t offset = size_t(&fiber - fibers.data()) % 61 * 320;
    begin.uc_stack.ss_sp = fiber.stack;
    begin.uc_stack.ss_size = STACK - offset;
    begin.uc_link = nullptr;
    makecontext(&begin, life_of_a_fiber, 0);
    setcontext(&begin);
}

// Let the queued fibers run until each waits or exits.
void run_queue() {
    taken = 0;
    while (taken < queued && !failed()) {
        Fiber& fiber = *queue[taken++];
        before_switch_to(fiber);
        if (!_setjmp(scheduler)) go_to(fiber);
        back_in_scheduler();
    }
}

// Have at least so many fibers; false where there is no memory.
bool provide_fibers(size_t count) {
    const size_t before = fibers.size();
    if (count <= before) return true;
    const size_t more = (count - before + STACKS_AT_ONCE - 1) / STACKS_AT_ONCE * STACKS_AT_ONCE;
    void* stacks = mmap(nullptr, more * STACK, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stacks == MAP_FAILED) return false;
    fibers.resize(before + more);
    for (size_t i = 0; i < more; ++i)
        fibers[before + i].stack = static_cast<char*>(stacks) + i * STACK;
    return true;
}

// -- waiting, as seen by a fiber ------------------------------------------------------------------

// These are inlined into the kernel: after a switch the processor mispredicts every return.
#define FASTNET_HOST_INLINE __attribute__((always_inline)) inline

void fail_at(const Site& site, const char* why, int number) {
    snprintf(message, sizeof message, "%s:%d: %s %s %d", site.file, site.line, site.call, why,
             number);
}

void come_to(State state, const Site& site) {
    current->state = state;
    current->site = site;
}

void come_to_warp(unsigned mask, unsigned long long brought, int source, const Site& site) {
    const int lane = current->lane;
    if (!(mask >> lane & 1)) fail_at(site, "has a mask without its own lane", lane);
    current->mask = mask;
    current->brought = brought;
    current->source = source;
    come_to(State::at_warp, site);
}

// Meet the lanes of a mask; returns what the lane ``source`` has brought, or the ballot.
FASTNET_HOST_INLINE unsigned long long meet_warp(unsigned mask, unsigned long long brought,
                                                 int source, const Site& site) {
    come_to_warp(mask, brought, source, site);
    leave();
    return current->received;
}

template <class T>
FASTNET_HOST_INLINE T shuffle(unsigned mask, T value, int source, int width, const Site& site) {
    static_assert(std::is_arithmetic<T>::value && sizeof(T) >= 4 && sizeof(T) <= 8,
                  "CUDA shuffles int, unsigned, long long, float and double");
    if (width < 1 || width > warpSize || (width & (width - 1)))
        fail_at(site, "has a width that is no power of two up to 32:", width);
    unsigned long long bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = meet_warp(mask, bits, source, site);
    memcpy(&value, &bits, sizeof value);
    return value;
}

// Meet the block; returns how many of its threads brought a true value, and how many came.
struct Count {
    int true_ones, all;
};

FASTNET_HOST_INLINE Count meet_block(bool brought, const Site& site) {
    current->brought = brought;
    come_to(State::at_block, site);
    leave();
    return {int(current->received & 0xffffffffu), int(current->received >> 32)};
}

FASTNET_HOST_INLINE void meet_grid(const Site& site) {
    come_to(State::at_grid, site);
    leave();
}

// -- the order of things --------------------------------------------------------------------------

bool is_seeded = false;
unsigned long long random_state = 1;

unsigned draw(unsigned below) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return unsigned((random_state >> 32) * below >> 32);
}

template <class T>
void into_order(T* begin, int count) {
    if (!is_seeded) return;
    for (int i = count - 1; i > 0; --i) std::swap(begin[i], begin[draw(i + 1)]);
}

// -- warps ----------------------------------------------------------------------------------------

struct Warp {
    Fiber* lanes;
    int count;
};

// Give every lane of a mask what it came for.
void serve(Warp warp, unsigned members) {
    unsigned long long ballot = 0;
    for (int i = 0; i < warp.count; ++i)
        if (members >> i & 1) ballot |= (warp.lanes[i].brought & 1) << i;
    const bool is_ballot = warp.lanes[__builtin_ctz(members)].source == warpSize;
    for (int i = 0; i < warp.count; ++i) {
        if (!(members >> i & 1)) continue;
        Fiber& fiber = warp.lanes[i];
        fiber.state = State::ready;
        const bool is_there = fiber.source >= 0 && fiber.source < 32 && members >> fiber.source & 1;
        if (is_ballot) fiber.received = ballot;
        else fiber.received = is_there ? warp.lanes[fiber.source].brought : ~0ull;
    }
}

// Whether all lanes that a waiting one names have come too; a message if they never can.
bool is_complete(Warp warp, int lane, unsigned members) {
    const Fiber& fiber = warp.lanes[lane];
    bool all = true;
    for (int i = 0; i < warp.count; ++i) {
        if (!(members >> i & 1)) continue;
        const Fiber& other = warp.lanes[i];
        if (other.state == State::exited) {
            snprintf(message, sizeof message, "%s:%d: %s waits for lane %d, which has exited",
                     fiber.site.file, fiber.site.line, fiber.site.call, i);
            return false;
        }
        if (other.state != State::at_warp) {
            all = false;
        } else if (other.mask != fiber.mask || !(other.site == fiber.site)) {
            if (other.mask >> lane & 1) {
                snprintf(message, sizeof message,
                         "lanes %d and %d wait for each other at different calls: "
                         "%s:%d: %s with mask %#x, and %s:%d: %s with mask %#x",
                         lane, i, fiber.site.file, fiber.site.line, fiber.site.call, fiber.mask,
                         other.site.file, other.site.line, other.site.call, other.mask);
                return false;
            }
            all = false;
        }
    }
    return all;
}

void settle(Warp warp) {
    const unsigned existing = ~0u >> (warpSize - warp.count);
    for (int i = 0; i < warp.count && !failed(); ++i) {
        if (warp.lanes[i].state != State::at_warp) continue;
        const unsigned members = warp.lanes[i].mask & existing;
        if (is_complete(warp, i, members)) serve(warp, members);
    }
}

// Run every lane that can, once, and let meetings happen; false if no lane could run.
bool step(Warp warp) {
    queued = 0;
    for (int i = 0; i < warp.count; ++i)
        if (warp.lanes[i].state == State::ready) queue[queued++] = &warp.lanes[i];
    if (!queued) return false;
    into_order(queue, queued);
    run_queue();
    if (!failed()) settle(warp);
    return true;
}

// -- blocks ---------------------------------------------------------------------------------------

struct Block {
    Fiber* threads;
    int count;
    std::vector<char> shared;  // its shared memory while another block runs

    Warp warp(int i) const {
        const int begin = i * warpSize, rest = count - begin;
        return {threads + begin, rest < warpSize ? rest : warpSize};
    }
};

// End a block barrier that all threads have reached; false if there is none.
bool end_block_barrier(const Block& block) {
    const Fiber* first = nullptr;
    unsigned long long came = 0, true_ones = 0;
    for (int i = 0; i < block.count; ++i) {
        const Fiber& fiber = block.threads[i];
        if (fiber.state == State::exited) continue;
        if (fiber.state != State::at_block) return false;
        if (!first) first = &fiber;
        if (!(fiber.site == first->site)) {
            snprintf(message, sizeof message,
                     "threads of one block wait at different barriers: %s:%d: %s and %s:%d: %s",
                     first->site.file, first->site.line, first->site.call, fiber.site.file,
                     fiber.site.line, fiber.site.call);
            return false;
        }
        ++came;
        true_ones += fiber.brought;
    }
    if (!came) return false;
    for (int i = 0; i < block.count; ++i) {
        if (block.threads[i].state != State::at_block) continue;
        block.threads[i].received = came << 32 | true_ones;
        block.threads[i].state = State::ready;
    }
    return true;
}

// Run a warp once or, for about every second one with a seed, until it waits for others: so that
// some get ahead of the others by as much as barriers let them. False if it could not run.
bool run_warp(Warp warp) {
    if (!step(warp)) return false;
    if (is_seeded && draw(2))
        while (!failed() && step(warp)) continue;
    return true;
}

// Run a block until it can go no further by itself, or until another one shall get ahead; false if
// it could not even begin to.
bool run_block(const Block& block, bool may_pause) {
    const int warps = (block.count + warpSize - 1) / warpSize;
    int order[warpSize];
    for (int i = 0; i < warps; ++i) order[i] = i;
    for (bool has_moved = false;; has_moved = true) {
        bool moves = false;
        into_order(order, warps);
        for (int i = 0; i < warps && !failed(); ++i) moves |= run_warp(block.warp(order[i]));
        if (failed()) return true;
        if (!moves) {
            if (!end_block_barrier(block)) return has_moved;
            if (may_pause && is_seeded && !draw(4)) return true;
        }
    }
}

// -- shared memory --------------------------------------------------------------------------------

// All shared variables stand in one section, of which the linker tells begin and end. One block's
// shared memory is there; that of other blocks is kept aside.
extern "C" {
extern char __start_fastnet_shared[] __attribute__((visibility("hidden")));
extern char __stop_fastnet_shared[] __attribute__((visibility("hidden")));
}
__attribute__((section("fastnet_shared"), used)) char at_least_one_byte;

size_t shared_size() { return size_t(__stop_fastnet_shared - __start_fastnet_shared); }

#ifdef __SANITIZE_ADDRESS__
// Byte by byte: there are guarded gaps between the variables, into which memcpy may not go.
__attribute__((no_sanitize("address", "undefined"))) void copy(volatile char* to,
                                                               const volatile char* from) {
    for (size_t i = 0; i < shared_size(); ++i) to[i] = from[i];
}
#else
void copy(char* to, const char* from) { memcpy(to, from, shared_size()); }
#endif

// -- launches -------------------------------------------------------------------------------------

void prepare_block(Block& block, Fiber* threads, long long index, bool poison) {
    const unsigned x = unsigned(index % grid_size.x), row = unsigned(index / grid_size.x);
    const unsigned y = row % grid_size.y, z = row / grid_size.y;
    block.threads = threads;
    block.shared.assign(shared_size(), poison ? char(0xFF) : 0);
    uint3 thread{0, 0, 0};
    for (int i = 0; i < block.count; ++i) {
        Fiber& fiber = threads[i];
        fiber.thread = thread;
        fiber.block = {x, y, z};
        fiber.lane = i % warpSize;
        fiber.state = State::ready;
        if (++thread.x == block_size.x) {
            thread.x = 0;
            if (++thread.y == block_size.y) thread.y = 0, ++thread.z;
        }
    }
}

// End a meeting of the whole grid; false if there is none.
bool end_grid_barrier(size_t count) {
    const Fiber* first = nullptr;
    size_t exited = 0;
    for (size_t i = 0; i < count; ++i) {
        const Fiber& fiber = fibers[i];
        if (fiber.state == State::exited) {
            ++exited;
            continue;
        }
        if (fiber.state != State::at_grid) return false;
        if (!first) first = &fiber;
        if (!(fiber.site == first->site)) return false;
    }
    if (!first || exited) return false;
    for (size_t i = 0; i < count; ++i) fibers[i].state = State::ready;
    return true;
}

// Say where everybody waits, up to three places.
void report_deadlock(size_t count) {
    struct Place {
        Site site;
        int count;
    };
    std::vector<Place> places;
    int exited = 0;
    for (size_t i = 0; i < count; ++i) {
        if (fibers[i].state == State::exited) {
            ++exited;
            continue;
        }
        size_t at = 0;
        while (at < places.size() && !(places[at].site == fibers[i].site)) ++at;
        if (at == places.size()) places.push_back({fibers[i].site, 0});
        ++places[at].count;
    }
    size_t end = size_t(snprintf(message, sizeof message, "deadlock: "));
    for (size_t i = 0; i < places.size() && i < 3 && end < sizeof message; ++i)
        end += size_t(snprintf(message + end, sizeof message - end, "%d wait at %s:%d: %s, ",
                               places[i].count, places[i].site.file, places[i].site.line,
                               places[i].site.call));
    if (end < sizeof message)
        snprintf(message + end, sizeof message - end, "%d have exited", exited);
}

bool all_have_exited(size_t count) {
    for (size_t i = 0; i < count; ++i)
        if (fibers[i].state != State::exited) return false;
    return true;
}

// Run blocks that are there at the same time, to their end.
void run_together(std::vector<Block>& blocks, size_t threads) {
    Block* resident = nullptr;
    std::vector<int> order(blocks.size());
    for (size_t i = 0; i < blocks.size(); ++i) order[i] = int(i);
    while (!failed() && !all_have_exited(threads)) {
        bool moves = false;
        into_order(order.data(), int(order.size()));
        for (int i : order) {
            Block& block = blocks[size_t(i)];
            if (resident != &block) {
                if (resident) copy(resident->shared.data(), __start_fastnet_shared);
                copy(__start_fastnet_shared, block.shared.data());
                resident = &block;
            }
            moves |= run_block(block, blocks.size() > 1);
            if (failed()) return;
        }
        if (!moves && !end_grid_barrier(threads)) report_deadlock(threads);
    }
}

bool is_launchable(long long threads, long long blocks, bool cooperative) {
    if (threads < 1 || threads > 1024 || block_size.z > 64)
        snprintf(message, sizeof message, "a block of %u x %u x %u threads; a GPU takes 1 to 1024",
                 block_size.x, block_size.y, block_size.z);
    else if (blocks < 1 || grid_size.x > 0x7fffffffu || grid_size.y > 65535 || grid_size.z > 65535)
        snprintf(message, sizeof message, "a grid of %u x %u x %u blocks is none that a GPU takes",
                 grid_size.x, grid_size.y, grid_size.z);
    else if (cooperative && threads * blocks > MOST_RESIDENT)
        snprintf(message, sizeof message, "a cooperative launch of %lld threads; at most %lld fit",
                 threads * blocks, MOST_RESIDENT);
    else if (!provide_fibers(size_t(cooperative ? threads * blocks : threads)))
        snprintf(message, sizeof message, "no memory for the stacks of %lld threads", threads);
    return !failed();
}

bool is_cooperative = false;

int run(const unsigned* grid, const unsigned* block, bool cooperative, unsigned long long seed,
        bool poison) {
    message[0] = 0;
    grid_size = {grid[0], grid[1], grid[2]};
    block_size = {block[0], block[1], block[2]};
    is_cooperative = cooperative;
    is_seeded = seed != 0;
    random_state = (seed + 1) * 0x9E3779B97F4A7C15ull | 1;
    const long long threads = 1ll * block[0] * block[1] * block[2];
    const long long count = 1ll * grid[0] * grid[1] * grid[2];
    if (!is_launchable(threads, count, cooperative)) return 1;

    const size_t together = cooperative ? size_t(count) : 1;
    std::vector<Block> blocks(together);
    std::vector<long long> order(static_cast<size_t>(count));
    for (size_t i = 0; i < order.size(); ++i) order[i] = (long long)i;
    into_order(order.data(), int(count));
    for (size_t begin = 0; begin < order.size() && !failed(); begin += together) {
        for (size_t i = 0; i < together; ++i) {
            blocks[i].count = int(threads);
            prepare_block(blocks[i], &fibers[i * size_t(threads)], order[begin + i], poison);
        }
        run_together(blocks, together * size_t(threads));
    }
    // Those in the middle of a kernel can never continue it, and stacks may be damaged: begin anew.
    if (failed())
        for (Fiber& fiber : fibers) fiber.started = false;
    return failed();
}

template <class... T, size_t... I>
void call(void (*kernel)(T...), void** values, std::index_sequence<I...>) {
    kernel(*static_cast<T*>(values[I])...);
}

// ``values`` are addresses of the arguments, as cuLaunchKernel takes them.
template <class... T>
int launch(void (*kernel)(T...), const unsigned* grid, const unsigned* block, void** values,
           bool cooperative, unsigned long long seed, bool poison) {
    struct Call {
        void (*kernel)(T...);
        void** values;
    } what{kernel, values};
    body_argument = &what;
    body = [](void* argument) {
        Call& what = *static_cast<Call*>(argument);
        call(what.kernel, what.values, std::index_sequence_for<T...>{});
    };
    return run(grid, block, cooperative, seed, poison);
}

template <class To, class From>
To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "of one size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

// -- signatures -----------------------------------------------------------------------------------

template <class T>
constexpr char kind_of() {
    return std::is_floating_point<T>::value ? 'f'
           : std::is_same<T, bool>::value   ? 'b'
           : !std::is_integral<T>::value    ? '?'
           : std::is_signed<T>::value       ? 'i'
                                            : 'u';
}

template <class T>
int write_type(char* to, size_t room) {
    if constexpr (std::is_pointer<T>::value) {
        using Target = std::remove_pointer_t<T>;
        using Type = std::remove_cv_t<Target>;
        return snprintf(to, room, "%s%c%zu*, ", std::is_const<Target>::value ? "const " : "",
                        kind_of<Type>(), sizeof(Type));
    } else {
        return snprintf(to, room, "%c%zu, ", kind_of<T>(), sizeof(T));
    }
}

// The types of a kernel's parameters, with a comma after each.
template <class... T>
const char* signature(void (*)(T...)) {
    static char text[16 * sizeof...(T) + 1];
    size_t end = 0;
    ((end += size_t(write_type<T>(text + end, sizeof text - end))), ...);
    return text;
}

}  // namespace
}  // namespace fastnet_host

// What a kernel's library offers. All else is hidden: a kernel may be called like a function of C.
#define FASTNET_HOST_PUBLIC extern "C" __attribute__((visibility("default")))

#define FASTNET_HOST_EXPORT(kernel)                                                                \
    FASTNET_HOST_PUBLIC int fastnet_host_launch_##kernel(                                          \
        const unsigned* grid, const unsigned* block, void** values, int cooperative,               \
        unsigned long long seed, int poison) {                                                     \
        return fastnet_host::launch(&kernel, grid, block, values, cooperative, seed, poison);      \
    }                                                                                              \
    FASTNET_HOST_PUBLIC const char* fastnet_host_signature_##kernel() {                            \
        return fastnet_host::signature(&kernel);                                                   \
    }

FASTNET_HOST_PUBLIC const char* fastnet_host_message() { return fastnet_host::message; }

// -- the language ---------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static __attribute__((section("fastnet_shared")))

#define threadIdx (fastnet_host::current->thread)
#define blockIdx (fastnet_host::current->block)
#define blockDim (fastnet_host::block_size)
#define gridDim (fastnet_host::grid_size)

namespace {

// The compiler fills in where the call stands.
#define FASTNET_HOST_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

FASTNET_HOST_INLINE void __syncthreads(FASTNET_HOST_HERE) {
    fastnet_host::meet_block(false, {"__syncthreads", file, line});
}
FASTNET_HOST_INLINE int __syncthreads_count(int value, FASTNET_HOST_HERE) {
    return fastnet_host::meet_block(value, {"__syncthreads_count", file, line}).true_ones;
}
FASTNET_HOST_INLINE int __syncthreads_or(int value, FASTNET_HOST_HERE) {
    return fastnet_host::meet_block(value, {"__syncthreads_or", file, line}).true_ones > 0;
}
FASTNET_HOST_INLINE int __syncthreads_and(int value, FASTNET_HOST_HERE) {
    const auto count = fastnet_host::meet_block(value, {"__syncthreads_and", file, line});
    return count.true_ones == count.all;
}

FASTNET_HOST_INLINE void __syncwarp(unsigned mask = ~0u, FASTNET_HOST_HERE) {
    fastnet_host::meet_warp(mask, 0, 0, {"__syncwarp", file, line});
}
FASTNET_HOST_INLINE unsigned __ballot_sync(unsigned mask, int value, FASTNET_HOST_HERE) {
    return unsigned(
        fastnet_host::meet_warp(mask, value != 0, warpSize, {"__ballot_sync", file, line}));
}
FASTNET_HOST_INLINE int __any_sync(unsigned mask, int value, FASTNET_HOST_HERE) {
    return fastnet_host::meet_warp(mask, value != 0, warpSize, {"__any_sync", file, line}) != 0;
}
FASTNET_HOST_INLINE int __all_sync(unsigned mask, int value, FASTNET_HOST_HERE) {
    return fastnet_host::meet_warp(mask, value == 0, warpSize, {"__all_sync", file, line}) == 0;
}

// A lane whose source would be beyond its group of ``width`` lanes keeps its own value.
template <class T>
FASTNET_HOST_INLINE T __shfl_sync(unsigned mask, T value, int source, int width = warpSize,
                                  FASTNET_HOST_HERE) {
    const int lane = fastnet_host::current->lane, first = lane & ~(width - 1);
    return fastnet_host::shuffle(mask, value, first + (source & (width - 1)), width,
                                 {"__shfl_sync", file, line});
}
template <class T>
FASTNET_HOST_INLINE T __shfl_xor_sync(unsigned mask, T value, int bits, int width = warpSize,
                                      FASTNET_HOST_HERE) {
    const int lane = fastnet_host::current->lane, last = lane | (width - 1), source = lane ^ bits;
    return fastnet_host::shuffle(mask, value, source > last ? lane : source, width,
                                 {"__shfl_xor_sync", file, line});
}
template <class T>
FASTNET_HOST_INLINE T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = warpSize,
                                       FASTNET_HOST_HERE) {
    const int lane = fastnet_host::current->lane, last = lane | (width - 1);
    return fastnet_host::shuffle(mask, value, by > unsigned(last - lane) ? lane : lane + int(by),
                                 width, {"__shfl_down_sync", file, line});
}
template <class T>
FASTNET_HOST_INLINE T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = warpSize,
                                     FASTNET_HOST_HERE) {
    const int lane = fastnet_host::current->lane, first = lane & ~(width - 1);
    return fastnet_host::shuffle(mask, value, by > unsigned(lane - first) ? lane : lane - int(by),
                                 width, {"__shfl_up_sync", file, line});
}

// Meet all threads of a cooperative launch. On a GPU kernels wait for a counter in memory, which
// would be for ever here: they leave their own grid_sync out where FASTNET_HOST is defined.
FASTNET_HOST_INLINE void grid_sync(const volatile void* = nullptr, FASTNET_HOST_HERE) {
    if (!fastnet_host::is_cooperative)
        snprintf(fastnet_host::message, sizeof fastnet_host::message,
                 "%s:%d: grid_sync in a launch that is not cooperative", file, line);
    fastnet_host::meet_grid({"grid_sync", file, line});
}
#undef FASTNET_HOST_HERE
#undef FASTNET_HOST_INLINE

inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T>
T __ldg(const T* from) {
    return *from;
}

// Nothing comes in between here, so the plain operation is atomic. The second type is not deduced:
// an int may be added to a long long, as in CUDA.

template <class T>
T atomicExch(T* at, std::common_type_t<T> value) {
    const T before = *at;
    *at = value;
    return before;
}
template <class T>
T atomicAdd(T* at, std::common_type_t<T> value) {
    return atomicExch(at, T(*at + value));
}
template <class T>
T atomicMax(T* at, std::common_type_t<T> value) {
    return atomicExch(at, *at < value ? value : *at);
}
template <class T>
T atomicMin(T* at, std::common_type_t<T> value) {
    return atomicExch(at, value < *at ? value : *at);
}
template <class T>
T atomicOr(T* at, std::common_type_t<T> value) {
    return atomicExch(at, T(*at | value));
}
template <class T>
T atomicCAS(T* at, std::common_type_t<T> expected, std::common_type_t<T> value) {
    return atomicExch(at, *at == expected ? value : *at);
}

// -- functions ------------------------------------------------------------------------------------

// The C library's header has those of both float and double; CUDA has these besides.

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }

#define FASTNET_HOST_LIMITS(type)                                                                  \
    inline type min(type a, type b) { return b < a ? b : a; }                                      \
    inline type max(type a, type b) { return a < b ? b : a; }

FASTNET_HOST_LIMITS(int)
FASTNET_HOST_LIMITS(unsigned)
FASTNET_HOST_LIMITS(long)
FASTNET_HOST_LIMITS(unsigned long)
FASTNET_HOST_LIMITS(long long)
FASTNET_HOST_LIMITS(unsigned long long)
#undef FASTNET_HOST_LIMITS
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __ddiv_rn(double a, double b) { return a / b; }
inline double __dsqrt_rn(double a) { return sqrt(a); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

inline int __float_as_int(float x) { return fastnet_host::same_bits<int>(x); }
inline unsigned __float_as_uint(float x) { return fastnet_host::same_bits<unsigned>(x); }
inline float __int_as_float(int x) { return fastnet_host::same_bits<float>(x); }
inline float __uint_as_float(unsigned x) { return fastnet_host::same_bits<float>(x); }
inline long long __double_as_longlong(double x) { return fastnet_host::same_bits<long long>(x); }
inline double __longlong_as_double(long long x) { return fastnet_host::same_bits<double>(x); }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline unsigned __umulhi(unsigned a, unsigned b) {
    return unsigned(static_cast<unsigned long long>(a) * b >> 32);
}

}  // namespace
