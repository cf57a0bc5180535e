// One Adan step for all tensors of a group in one pass over memory; the arithmetic is that of adan/update.py.
//
// Compiled by adan/kernels/compilation.py, called by adan/kernels/cpu.py through ctypes. Every element is read and
// written once: parameter, gradient and four states in, parameter and four states out. Plain loops, vectorised by
// `omp simd`; threads share the elements of all tensors evenly. Nothing here depends on the C++ library.

#include <math.h>
#include <stdint.h>
#include <string.h>

namespace {

struct bfloat16 {
    uint16_t bits;
};

template <class To, class From>
inline To bit_cast(From from) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}

inline float load(float x) { return x; }
inline double load(double x) { return x; }
inline float load(bfloat16 x) { return bit_cast<float>(uint32_t(x.bits) << 16); }

// Upper half of the bits of x after `added` went to the lower half. NaN stays NaN if the lower half of its bits leaves
// room for `added`: see `quiet`.
inline bfloat16 cut(float x, uint32_t added) { return bfloat16{uint16_t((bit_cast<uint32_t>(x) + added) >> 16)}; }

// The NaN of a GPU has all bits set, and a carry would make it a number: it becomes the plain one, as do all NaN that
// follow from it. Everything else stays as it is.
inline float quiet(float x) { return x == x ? x : bit_cast<float>(0x7fc00000u); }
inline double quiet(double x) { return x; }

inline void store(float &to, float x) { to = x; }
inline void store(double &to, double x) { to = x; }
inline void store(bfloat16 &to, float x) { to = cut(x, 0x7fffu + (bit_cast<uint32_t>(x) >> 16 & 1u)); }

// `added`: sixteen random bits (adan/rounding.py). Only bf16 states are ever rounded so.
inline void store_stochastically(float &to, float x, uint32_t) { to = x; }
inline void store_stochastically(double &to, double x, uint32_t) { to = x; }
inline void store_stochastically(bfloat16 &to, float x, uint32_t added) { to = cut(x, added); }

inline uint32_t word(uint32_t counter) {
    const uint32_t x = (counter ^ counter >> 16) * 0x7feb352du;
    return x ^ x >> 15;
}

inline uint32_t mix(uint32_t x) {
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

}  // namespace

extern "C" {

// One parameter, as adan/kernels/cpu.py lays it out: nine 64-bit words. Gradients come apart: they move every step.
struct Entry {
    void *param, *exp_avg, *exp_avg_diff, *exp_avg_sq, *pre_grad;
    float *step;
    int64_t elements;
    int64_t first;   // elements of all tensors before this one
    int64_t number;  // of the parameter in the optimizer, for rounding
};

struct Hyper {
    double lr, beta1, beta2, beta3, eps, weight_decay, scale;
    int64_t no_prox, stochastic;
};
}

namespace {

template <class Real>
struct Coefficients {
    Real scale, beta1, rest1, beta2, rest2, beta3, rest3, eps;
    Real momentum, difference;  // lr / (1 - beta1^t), lr beta2 / (1 - beta2^t)
    Real root;                  // 1 / sqrt(1 - beta3^t)
    Real decay_before, decay_after;  // what of the parameter is taken away before the step, and of the result after
    uint32_t stream;
};

template <class Real>
Coefficients<Real> coefficients(const Hyper &h, double step, int64_t number) {
    Coefficients<Real> c;
    c.scale = Real(h.scale);
    c.beta1 = Real(h.beta1), c.rest1 = Real(1 - h.beta1);
    c.beta2 = Real(h.beta2), c.rest2 = Real(1 - h.beta2);
    c.beta3 = Real(h.beta3), c.rest3 = Real(1 - h.beta3);
    c.eps = Real(h.eps);
    c.momentum = Real(h.lr / (1 - pow(h.beta1, step)));
    c.difference = Real(h.lr * h.beta2 / (1 - pow(h.beta2, step)));
    c.root = Real(1 / sqrt(1 - pow(h.beta3, step)));
    const double decay = h.lr * h.weight_decay;
    c.decay_before = Real(h.no_prox ? decay : 0);
    c.decay_after = Real(h.no_prox ? 0 : decay / (1 + decay));
    c.stream = mix(mix(uint32_t(number) + 0x9e3779b9u) + uint32_t(int64_t(step)));
    return c;
}

// Elements [begin, end) of one tensor. At a first step the previous gradient is the gradient itself.
template <bool first_step, bool stochastic, class Param, class Grad, class State, class Real>
void update(const Entry &e, const void *grads, int64_t begin, int64_t end, const Coefficients<Real> &given) {
    const Coefficients<Real> c = given;
    constexpr int64_t kRun = 1 << 30;  // 32-bit indices, as wide as the elements, vectorise best
    for (int64_t start = begin; start < end; start += kRun) {
        const int32_t count = int32_t(end - start < kRun ? end - start : kRun);
        Param *__restrict param = static_cast<Param *>(e.param) + start;
        const Grad *__restrict grad = static_cast<const Grad *>(grads) + start;
        State *__restrict exp_avg = static_cast<State *>(e.exp_avg) + start;
        State *__restrict exp_avg_diff = static_cast<State *>(e.exp_avg_diff) + start;
        State *__restrict exp_avg_sq = static_cast<State *>(e.exp_avg_sq) + start;
        State *__restrict pre_grad = static_cast<State *>(e.pre_grad) + start;
        const uint32_t offset = uint32_t(start);
#pragma omp simd
        for (int32_t i = 0; i < count; ++i) {
            const Real scaled = load(grad[i]) * c.scale;
            const Real g = sizeof(State) == 2 ? quiet(scaled) : scaled;
            const Real difference = g - (first_step ? g : load(pre_grad[i]));
            const Real look_ahead = g + c.beta2 * difference;
            const Real m = c.beta1 * load(exp_avg[i]) + c.rest1 * g;
            const Real v = c.beta2 * load(exp_avg_diff[i]) + c.rest2 * difference;
            const Real n = c.beta3 * load(exp_avg_sq[i]) + c.rest3 * look_ahead * look_ahead;
            const Real denominator = sqrt(n) * c.root + c.eps;
            const Real move = (c.momentum * m + c.difference * v) / denominator;
            const Real theta = load(param[i]);
            const Real moved = theta - c.decay_before * theta - move;
            store(param[i], moved - c.decay_after * moved);
            store(pre_grad[i], g);
            if (stochastic) {
                const uint32_t bits = word((offset + uint32_t(i)) ^ c.stream);
                store_stochastically(exp_avg[i], m, bits & 0xffffu);
                store_stochastically(exp_avg_diff[i], v, bits >> 16);
                store_stochastically(exp_avg_sq[i], n, bits * 0x9e3779b1u >> 16);
            } else {
                store(exp_avg[i], m);
                store(exp_avg_diff[i], v);
                store(exp_avg_sq[i], n);
            }
        }
    }
}

template <class Param, class Grad, class State, class Real>
void update_range(const Entry *entries, const void *const *grads, int64_t tensors, int64_t begin, int64_t end,
                  const Hyper &h) {
    Coefficients<Real> c;
    double step = 0;
    int64_t number = -1;
    for (int64_t index = 0; index < tensors; ++index) {
        const Entry &e = entries[index];
        const int64_t from = begin > e.first ? begin - e.first : 0;
        const int64_t to = end < e.first + e.elements ? end - e.first : e.elements;
        if (from >= to) continue;
        if (*e.step != step || (h.stochastic && e.number != number)) {
            step = *e.step, number = e.number;
            c = coefficients<Real>(h, step, number);
        }
        const bool first_step = step == 1;
        if (h.stochastic)
            first_step ? update<true, true, Param, Grad, State>(e, grads[index], from, to, c)
                       : update<false, true, Param, Grad, State>(e, grads[index], from, to, c);
        else
            first_step ? update<true, false, Param, Grad, State>(e, grads[index], from, to, c)
                       : update<false, false, Param, Grad, State>(e, grads[index], from, to, c);
    }
}

template <class Param, class Grad, class State, class Real>
void step_all(const Entry *entries, const void *const *grads, int64_t tensors, int64_t threads, const Hyper &h) {
    for (int64_t index = 0; index < tensors; ++index) *entries[index].step += 1;
    const int64_t elements = tensors ? entries[tensors - 1].first + entries[tensors - 1].elements : 0;
    if (threads == 1) {
        update_range<Param, Grad, State, Real>(entries, grads, tensors, 0, elements, h);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t thread = 0; thread < threads; ++thread) {
        // Multiples of 64 elements: no cache line is written by two threads.
        const int64_t begin = elements / 64 * thread / threads * 64;
        const int64_t end = thread + 1 == threads ? elements : elements / 64 * (thread + 1) / threads * 64;
        update_range<Param, Grad, State, Real>(entries, grads, tensors, begin, end, h);
    }
}

constexpr int64_t kBlock = 8192;  // the norm is summed block by block, so that it does not depend on the threads

template <class Param>
double sum_of_squares(const Param *values, int64_t count) {
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; ++i) {
        const double x = load(values[i]);
        sum += x * x;
    }
    return sum;
}

template <class Param>
double sum_of_squares_all(const Entry *entries, const void *const *grads, int64_t tensors, int64_t threads) {
    double total = 0;
    for (int64_t index = 0; index < tensors; ++index) {
        const Param *values = static_cast<const Param *>(grads[index]);
        const int64_t elements = entries[index].elements, blocks = (elements + kBlock - 1) / kBlock;
        constexpr int64_t kBatch = 256;
        double sums[kBatch];
        for (int64_t done = 0; done < blocks; done += kBatch) {
            const int64_t batch = blocks - done < kBatch ? blocks - done : kBatch;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1 && batch > 3)
            for (int64_t block = 0; block < batch; ++block) {
                const int64_t begin = (done + block) * kBlock;
                sums[block] = sum_of_squares(values + begin, elements - begin < kBlock ? elements - begin : kBlock);
            }
            for (int64_t block = 0; block < batch; ++block) total += sums[block];
        }
    }
    return total;
}

}  // namespace

#define ADAN_STEP(name, Param, Grad, State, Real)                                                               \
    extern "C" void adan_step_##name(const Entry *entries, const void *const *grads, int64_t tensors,           \
                                     int64_t threads, const Hyper *hyper) {                                     \
        step_all<Param, Grad, State, Real>(entries, grads, tensors, threads, *hyper);                           \
    }
// Named by the types of parameters, gradients and states.
ADAN_STEP(float64_float64_float64, double, double, double, double)
ADAN_STEP(float32_float32_float32, float, float, float, float)
ADAN_STEP(float32_float32_bfloat16, float, float, bfloat16, float)
ADAN_STEP(bfloat16_bfloat16_float32, bfloat16, bfloat16, float, float)
ADAN_STEP(bfloat16_bfloat16_bfloat16, bfloat16, bfloat16, bfloat16, float)
ADAN_STEP(bfloat16_float32_float32, bfloat16, float, float, float)
ADAN_STEP(bfloat16_float32_bfloat16, bfloat16, float, bfloat16, float)

#define ADAN_SUM_OF_SQUARES(name, Param)                                                                        \
    extern "C" double adan_sum_of_squares_##name(const Entry *entries, const void *const *grads,                \
                                                 int64_t tensors, int64_t threads) {                            \
        return sum_of_squares_all<Param>(entries, grads, tensors, threads);                                     \
    }
ADAN_SUM_OF_SQUARES(float32, float)
ADAN_SUM_OF_SQUARES(float64, double)
ADAN_SUM_OF_SQUARES(bfloat16, bfloat16)
