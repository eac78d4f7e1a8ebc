/* The small steps between a network's products, there and back: each number goes through memory once.
 *
 * Compiled as `lanes.h` says.
 */
#include "lanes.h"

/* Sixteen weights, or the `count` that there are. */
static inline lanes weights_at(const float *from, int64_t count) {
    if (count >= LANES) return *(const floats *)from;
    lanes w = {0};
    memcpy(&w, from, count * sizeof(float));
    return w;
}

/* Root mean square norm (1910.07467): out (rows, width) = x over its root mean square, times weights
 * (width). What x is multiplied with is kept in `scales`. If `rounded`, that product is a number of memory's kind before
 * the weights come to it. */
void norm(const number *x, const float *weights, float epsilon, int rounded, number *out, float *scales, int64_t rows,
          int64_t width, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t n = 0; n < rows; n++) {
        const number *from = x + n * width;
        lanes squares = {0};
        for (int64_t k = 0; k < width; k += LANES) {
            lanes some = load(from + k, width - k, 0);
            squares += some * some;
        }
        const float scale = 1 / sqrtf(sum_across(squares)[0] / width + epsilon);
        scales[n] = scale;
        for (int64_t k = 0; k < width; k += LANES) {
            lanes y = load(from + k, width - k, 0) * scale;
            if (rounded) y = wide_all(narrow_all(y));
            store(out + n * width + k, y * weights_at(weights + k, width - k), width - k);
        }
    }
}

/* The gradient of x, (rows, width), from that of what `norm` gave. */
void norm_back(const number *gradient, const number *x, const float *weights, const float *scales, number *out,
               int64_t rows, int64_t width, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t n = 0; n < rows; n++) {
        const number *from = x + n * width, *given = gradient + n * width;
        const float scale = scales[n];
        lanes products = {0};
        for (int64_t k = 0; k < width; k += LANES)
            products += load(given + k, width - k, 0) * weights_at(weights + k, width - k) * load(from + k, width - k, 0);
        const float along = sum_across(products)[0] * scale * scale / width;
        for (int64_t k = 0; k < width; k += LANES) {
            lanes d = load(given + k, width - k, 0) * weights_at(weights + k, width - k);
            store(out + n * width + k, (d - load(from + k, width - k, 0) * along) * scale, width - k);
        }
    }
}

/* 1 / (1 + e^-x) */
static inline lanes sigmoid(lanes x) {
    lanes size = (lanes)((places)x & INT32_MAX), y = power(size * -1.442695041f);
    return choose(x < 0.0f, y, (lanes){0} + 1.0f) / (1.0f + y);
}

/* Numbers that are worked on together. */
#define CHUNK 4096

/* The gate of a feed-forward layer (SwiGLU, 2002.05202): out = x sigmoid(x) beside, where the first product is
 * a number of memory's kind before the second. */
void gate(const number *x, const number *beside, number *out, int64_t count, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t begun = 0; begun < count; begun += CHUNK)
        for (int64_t k = begun; k < between(0, begun + CHUNK, count); k += LANES) {
            lanes g = load(x + k, count - k, 0);
            lanes y = wide_all(narrow_all(g * sigmoid(g)));
            store(out + k, y * load(beside + k, count - k, 0), count - k);
        }
}

/* The gradients of both, from that of what `gate` gave. */
void gate_back(const number *gradient, const number *x, const number *beside, number *x_out, number *beside_out,
               int64_t count, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t begun = 0; begun < count; begun += CHUNK)
        for (int64_t k = begun; k < between(0, begun + CHUNK, count); k += LANES) {
            lanes d = load(gradient + k, count - k, 0), g = load(x + k, count - k, 0), s = sigmoid(g);
            store(x_out + k, d * load(beside + k, count - k, 0) * s * (1.0f + g * (1.0f - s)), count - k);
            store(beside_out + k, d * g * s, count - k);
        }
}
