/* Sixteen numbers at a time, in what GCC and Clang make of vectors: the same text for every processor.
 *
 * Compiled with NUMBER_BF16, NUMBER_FP16 or NUMBER_FP32: how numbers lie in memory. All arithmetic is in fp32.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LANES 16
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t places __attribute__((vector_size(4 * LANES)));
#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (places){__VA_ARGS__})
#endif

#if defined(NUMBER_BF16)
typedef uint16_t number;
static inline float wide(number x) {
    union { uint32_t bits; float value; } u = {(uint32_t)x << 16};
    return u.value;
}
static inline number narrow(float x) {
    union { float value; uint32_t bits; } u = {x};
    uint32_t rounded = (u.bits + 0x7fff + ((u.bits >> 16) & 1)) >> 16;
    return (u.bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded;
}
#elif defined(NUMBER_FP16)
typedef _Float16 number;
static inline float wide(number x) { return (float)x; }
static inline number narrow(float x) { return (number)x; }
#else
typedef float number;
static inline float wide(number x) { return x; }
static inline number narrow(float x) { return x; }
#endif

static inline int between(int64_t low, int64_t x, int64_t high) { return x < low ? low : x > high ? high : x; }

static inline lanes choose(places which, lanes yes, lanes no) {
    return (lanes)((which & (places)yes) | (~which & (places)no));
}

/* 2 to the power of each x <= 0: exact for 0, 0 below -126, else with a relative error below 2e-7 (a minimax fit). */
static inline lanes power(lanes x) {
    lanes whole;
    for (int i = 0; i < LANES; i++) whole[i] = floorf(x[i]);
    lanes part = x - whole, scale = (lanes)((__builtin_convertvector(whole, places) + 127) << 23);
    lanes p = part * 1.867130074e-3f + 9.017030312e-3f;
    p = p * part + 5.579991311e-2f;
    p = p * part + 2.401644502e-1f;
    p = p * part + 6.931513118e-1f;
    p = p * part + 1.0f;
    return choose(x < -126.0f, (lanes){0}, p * scale);
}

/* The hyperbolic tangent, within 2e-7. */
static inline lanes tangent(lanes x) {
    const places sign = (places){0} + INT32_MIN;
    lanes size = (lanes)((places)x & ~sign), y = power(size * -2.885390082f);
    return (lanes)((places)((1.0f - y) / (1.0f + y)) | ((places)x & sign));
}

#define OTHER_EIGHT 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7
#define OTHER_FOUR 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11
#define OTHER_TWO 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13
#define OTHER_ONE 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14
/* All lanes joined, in every lane. */
#define ACROSS(name, join)                                          \
    static inline lanes name(lanes x) {                             \
        lanes y = SHUFFLE(x, x, OTHER_EIGHT);                       \
        x = join, y = SHUFFLE(x, x, OTHER_FOUR);                    \
        x = join, y = SHUFFLE(x, x, OTHER_TWO);                     \
        x = join, y = SHUFFLE(x, x, OTHER_ONE);                     \
        return join;                                                \
    }
ACROSS(sum_across, x + y)
ACROSS(highest_across, choose(x > y, x, y))
