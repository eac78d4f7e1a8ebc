/* Linear layers for processors that multiply fp16 numbers (AVX512-FP16): four times as many in a cycle as bf16 ones.
 *
 * A row is scaled by a power of two, so that fp16 holds its numbers whatever their size. Its products with the weights
 * are summed in fp16 over RUN inputs, and these sums in fp32: what is rounded in there is less than what the result
 * loses when it becomes bf16. What comes of a row does not depend on which others go with it.
 *
 * Compiled as `lanes.h` says. Without the instructions, there is nothing in here.
 */
#include "lanes.h"

#ifdef __AVX512FP16__
#include <immintrin.h>

#define TILE 8    /* rows that are multiplied together, and ... */
#define VECTORS 3 /* ... vectors of outputs: their sums fill the registers */
#define HALVES 32 /* fp16 numbers in a vector */
#define PANEL (VECTORS * HALVES)
#define RUN 32
#define STRIP LANES /* inputs of a row that lie together */
#define TOGETHER 4  /* tiles that a run of weights is multiplied with while it is in a core's nearest cache */
#define TASK 8      /* tiles that a panel of weights is multiplied with while it is in a core's cache */

/* An fp16 number twice: what a vector is filled with at no cost. */
typedef uint32_t twice;

#define NOT_FINITE 255

/* The exponent of the largest of these numbers, as floats hold it: NOT_FINITE if one of them is infinite or none. */
static int exponent_of(const number *from, int64_t count) {
    places top = {0};
    for (int64_t k = 0; k < count; k += LANES) {
        places size = (places)load(from + k, count - k, 0) & INT32_MAX;
        top = (places)choose(size > top, (lanes)size, (lanes)top);
    }
    int exponent = 0;
    for (int i = 0; i < LANES; i++) exponent = top[i] >> 23 > exponent ? top[i] >> 23 : exponent;
    return exponent;
}

/* The power of two that brings numbers with this exponent to between half of 2^bits and 2^bits. */
static float scale_for(int exponent, int bits) {
    union { uint32_t bits; float value; } scale = {(uint32_t)between(1, 254 - 1 + bits - exponent, 252) << 23};
    return scale.value;
}

static inline __m256i halves(lanes x) { return (__m256i)_mm512_cvtxps_ph((__m512)x); }

/* A row's numbers times a power of two, the largest of them below 16. Returns what undoes it: NaN where a number is
 * infinite or none. */
static float pack_row(const number *row, int64_t inputs, twice *to) {
    int exponent = exponent_of(row, inputs);
    float scale = scale_for(exponent, 4);
    for (int64_t k = 0; k < inputs; k += STRIP) {
        __m512i half = _mm512_cvtepu16_epi32(halves(load(row + k, inputs - k, 0) * scale));
        _mm512_store_si512(to + k * TILE, _mm512_or_si512(half, _mm512_slli_epi32(half, 16)));
    }
    return exponent == NOT_FINITE ? NAN : 1 / scale;
}

/* sums (tiles, TILE, PANEL) = packed rows (tiles, inputs / STRIP, TILE, STRIP) times weights (inputs, PANEL) */
static inline void sum_products(lanes *sums, const twice *rows, int64_t tiles, const _Float16 *weights,
                                int64_t inputs) {
    for (int64_t begun = 0; begun < inputs; begun += RUN)
        for (int64_t tile = 0; tile < tiles; tile++) {
            const twice *x = rows + (tile * inputs + begun) * TILE;
            const _Float16 *w = weights + begun * PANEL, *end = w + between(0, inputs - begun, RUN) * PANEL;
            __m512h part[TILE][VECTORS];
            for (int i = 0; i < TILE; i++)
                for (int j = 0; j < VECTORS; j++) part[i][j] = _mm512_setzero_ph();
            for (; w < end; x += TILE * STRIP)
                for (int k = 0; k < STRIP; k++, w += PANEL) {
                    __m512h weight[VECTORS];
                    for (int j = 0; j < VECTORS; j++) weight[j] = _mm512_load_ph(w + j * HALVES);
                    for (int i = 0; i < TILE; i++) {
                        __m512h filled = (__m512h)_mm512_set1_epi32(x[i * STRIP + k]);
                        for (int j = 0; j < VECTORS; j++) part[i][j] = _mm512_fmadd_ph(filled, weight[j], part[i][j]);
                    }
                }
            lanes *sum = sums + tile * TILE * PANEL / LANES;
            for (int i = 0; i < TILE; i++)
                for (int j = 0; j < VECTORS; j++, sum += 2) {
                    __m512i both = (__m512i)part[i][j];
                    lanes low = (lanes)_mm512_cvtxph_ps((__m256h)_mm512_castsi512_si256(both));
                    lanes high = (lanes)_mm512_cvtxph_ps((__m256h)_mm512_extracti64x4_epi64(both, 1));
                    sum[0] = begun ? sum[0] + low : low;
                    sum[1] = begun ? sum[1] + high : high;
                }
        }
}

/* Room for so many numbers, of the kinds that follow. */
int64_t packed_weights(int64_t outputs, int64_t inputs) { return UP(outputs, PANEL) * UP(inputs, STRIP); }
int64_t packed_rows(int64_t rows, int64_t inputs) { return UP(rows, TILE) * UP(inputs, STRIP); }

/* Weights (outputs, inputs) as they are multiplied: in panels (outputs / PANEL, inputs, PANEL), with zeros where there
 * are none, and times a power of two, which is returned. The largest is below 32: what a run sums up to is then far
 * below the largest fp16 number. */
float pack_weights(const number *weights, int64_t outputs, int64_t inputs, _Float16 *to, int threads) {
    const int64_t padded = UP(inputs, STRIP);
    int exponent = 0;
#pragma omp parallel for num_threads(threads) reduction(max : exponent)
    for (int64_t n = 0; n < outputs; n++) {
        int here = exponent_of(weights + n * inputs, inputs);
        if (here > exponent && here < NOT_FINITE) exponent = here;
    }
    const float scale = scale_for(exponent, 5);
#pragma omp parallel for num_threads(threads)
    for (int64_t n = 0; n < UP(outputs, PANEL); n += LANES)
        for (int64_t k = 0; k < padded; k += LANES) {
            lanes r[LANES] = {0};
            for (int i = 0; i < between(0, outputs - n, LANES); i++)
                r[i] = load(weights + (n + i) * inputs + k, inputs - k, 0) * scale;
            transpose(r);
            for (int i = 0; i < LANES; i++)
                _mm256_store_si256((__m256i *)(to + (n / PANEL * padded + k + i) * PANEL + n % PANEL), halves(r[i]));
        }
    return scale;
}

/* out (rows, outputs) = x (rows, inputs) times weights, which were packed at this scale, plus the bias, which may be
 * null. There is room for the packed rows, and in `scales` for a number of each. */
void multiply(const number *x, const _Float16 *weights, float scale, const number *bias, number *out, int64_t rows,
              int64_t inputs, int64_t outputs, twice *packed, float *scales, int threads) {
    const int64_t tiles = UP(rows, TILE) / TILE, tasks = UP(tiles, TASK) / TASK;
    const int64_t panels = UP(outputs, PANEL) / PANEL, padded = UP(inputs, STRIP);
#pragma omp parallel num_threads(threads)
    {
#pragma omp for
        for (int64_t n = 0; n < tiles * TILE; n++) {
            twice *to = packed + n / TILE * TILE * padded + n % TILE * STRIP;
            if (n < rows) scales[n] = pack_row(x + n * inputs, inputs, to) / scale;
            else for (int64_t k = 0; k < padded; k += STRIP) memset(to + k * TILE, 0, STRIP * sizeof(twice));
        }
#pragma omp for collapse(2)
        for (int64_t first = 0; first < panels * PANEL; first += PANEL)
            for (int64_t task = 0; task < tasks; task++) {
                const int64_t end = between(0, (task + 1) * TASK, tiles), here = between(0, outputs - first, PANEL);
                for (int64_t tile = task * TASK; tile < end; tile += TOGETHER) {
                    lanes sums[TOGETHER][TILE][PANEL / LANES];
                    const int64_t some = between(0, end - tile, TOGETHER), row = tile * TILE;
                    sum_products(&sums[0][0][0], packed + row * padded, some, weights + first * padded, padded);
                    for (int64_t n = row; n < row + some * TILE && n < rows; n++)
                        for (int64_t c = 0; c < here; c += LANES) {
                            lanes y = sums[0][n - row][c / LANES] * scales[n];
                            if (bias) y += load(bias + first + c, here - c, 0);
                            store(out + n * outputs + first + c, y, here - c);
                        }
                }
            }
    }
}
#endif
