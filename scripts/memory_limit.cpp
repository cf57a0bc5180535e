// The least that a step of Adan in fp32 can do: read six arrays, write five (44 bytes a parameter), compute nothing.
// Compiled and timed by bench_optimizer.py. Threads share the elements as in adan/kernels/cpu.cpp.

#include <stdint.h>

static void move_range(float *__restrict param, const float *__restrict grad, float *__restrict exp_avg,
                       float *__restrict exp_avg_diff, float *__restrict exp_avg_sq, float *__restrict pre_grad,
                       int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; ++i) {
        const float x = grad[i];
        param[i] += x;
        exp_avg[i] += x;
        exp_avg_diff[i] += x;
        exp_avg_sq[i] += x;
        pre_grad[i] += x;
    }
}

// tables: param, grad, exp_avg, exp_avg_diff, exp_avg_sq, pre_grad of each tensor in turn
extern "C" void move_bytes(float *const *tables, const int64_t *elements, int64_t tensors, int64_t threads) {
    int64_t total = 0;
    for (int64_t tensor = 0; tensor < tensors; ++tensor) total += elements[tensor];
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t thread = 0; thread < threads; ++thread) {
        const int64_t from = total * thread / threads, to = total * (thread + 1) / threads;
        int64_t first = 0;
        for (int64_t tensor = 0; tensor < tensors; first += elements[tensor++]) {
            float *const *at = tables + 6 * tensor;
            const int64_t begin = from > first ? from - first : 0;
            const int64_t end = to - first < elements[tensor] ? to - first : elements[tensor];
            if (begin < end) move_range(at[0], at[1], at[2], at[3], at[4], at[5], begin, end);
        }
    }
}
