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

static inline lanes choose(places which, lanes yes, lanes no) {
    return (lanes)((which & (places)yes) | (~which & (places)no));
}

#if defined(NUMBER_BF16)
typedef uint16_t number;
#elif defined(NUMBER_FP16)
typedef _Float16 number;
#else
typedef float number;
#endif
/* Sixteen of them as they lie in memory, wherever they begin. */
typedef number numbers __attribute__((vector_size(LANES * sizeof(number)), aligned(sizeof(number))));
typedef float floats __attribute__((vector_size(4 * LANES), aligned(4)));

#ifdef NUMBER_BF16
static inline float wide(number x) {
    union { uint32_t bits; float value; } u = {(uint32_t)x << 16};
    return u.value;
}
static inline lanes wide_all(numbers x) { return (lanes)(__builtin_convertvector(x, places) << 16); }
static inline numbers narrow_all(lanes x) {
    places bits = (places)x, size = bits & INT32_MAX;
    places rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    lanes none = (lanes)((places){0} + 0x7fc0);
    return __builtin_convertvector((places)choose(size > 0x7f800000, none, (lanes)rounded), numbers);
}
#else
static inline float wide(number x) { return (float)x; }
static inline lanes wide_all(numbers x) { return __builtin_convertvector(x, lanes); }
static inline numbers narrow_all(lanes x) { return __builtin_convertvector(x, numbers); }
#endif

/* Sixteen numbers, or the `count` that there are; the rest is `padding`. */
static inline lanes load(const number *from, int64_t count, float padding) {
    if (count >= LANES) return wide_all(*(const numbers *)from);
    lanes x = (lanes){0} + padding;
    for (int i = 0; i < count; i++) x[i] = wide(from[i]);
    return x;
}

/* Sixteen numbers, or the first `count` of them. */
static inline void store(number *to, lanes x, int64_t count) {
    numbers narrowed = narrow_all(x);
    if (count >= LANES) *(numbers *)to = narrowed;
    else memcpy(to, &narrowed, count * sizeof(number));
}

#define UP(x, to) (((x) + (to) - 1) / (to) * (to))

static inline int64_t between(int64_t low, int64_t x, int64_t high) { return x < low ? low : x > high ? high : x; }

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

#define LOW_1 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30
#define HIGH_1 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31
#define LOW_2 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29
#define HIGH_2 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31
#define LOW_4 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27
#define HIGH_4 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31
#define LOW_8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HIGH_8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define EXCHANGE(distance, low, high)                               \
    for (int i = 0; i < LANES; i++)                                 \
        if (!(i & distance)) {                                      \
            lanes a = r[i], b = r[i + distance];                    \
            r[i] = SHUFFLE(a, b, low);                              \
            r[i + distance] = SHUFFLE(a, b, high);                  \
        }
/* Rows and columns of 16 x 16 change places. */
static inline void transpose(lanes r[LANES]) {
    EXCHANGE(1, LOW_1, HIGH_1)
    EXCHANGE(2, LOW_2, HIGH_2)
    EXCHANGE(4, LOW_4, HIGH_4)
    EXCHANGE(8, LOW_8, HIGH_8)
}
