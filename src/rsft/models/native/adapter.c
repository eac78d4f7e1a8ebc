/* The products of a low-rank adapter (LoRA, 2106.09685), there and back. One side of each is thin, so that bringing
 * numbers to a kind that multiplies quickly would take as long as the products: here that is done on the way.
 *
 * Compiled as `lanes.h` says. The adapter's own numbers are fp32, and its rank is a multiple of LANES.
 */
#include "lanes.h"

#define TILE 8    /* the sums of so many rows and ... */
#define VECTORS 2 /* ... of so many vectors are in registers */
#define WIDTH (VECTORS * LANES)
#define RUN 128 /* what is summed up in one go stays in a core's nearest cache */

/* sums (TILE, VECTORS) += a (rows, count) times b (count, vectors). Neighbours in a row of a lie `a_next` apart. */
static inline __attribute__((always_inline)) void add_some(lanes sums[TILE][VECTORS], const float *a, int64_t a_row,
                                                           int64_t a_next, const float *b, int64_t b_row, int64_t count,
                                                           int64_t rows, int64_t vectors) {
    lanes part[TILE][VECTORS];
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) part[i][v] = sums[i][v];
    for (int64_t k = 0; k < count; k++) {
        lanes w[VECTORS];
        for (int v = 0; v < vectors; v++) w[v] = *(const floats *)(b + k * b_row + v * LANES);
        for (int i = 0; i < rows; i++)
            for (int v = 0; v < vectors; v++) part[i][v] += a[i * a_row + k * a_next] * w[v];
    }
    for (int i = 0; i < rows; i++)
        for (int v = 0; v < vectors; v++) sums[i][v] = part[i][v];
}

static inline __attribute__((always_inline)) void add_products(lanes sums[TILE][VECTORS], const float *a, int64_t a_row, int64_t a_next, const float *b,
                         int64_t b_row, int64_t count, int64_t rows, int64_t vectors) {
    if (rows < TILE) add_some(sums, a, a_row, a_next, b, b_row, count, rows, vectors);
    else if (vectors == VECTORS) add_some(sums, a, a_row, a_next, b, b_row, count, TILE, VECTORS);
    else add_some(sums, a, a_row, a_next, b, b_row, count, TILE, 1);
}

/* A piece of x (rows, width) in fp32: `count` numbers of each of some rows, and zeros up to a multiple of LANES. */
static inline void in_fp32(const number *x, int64_t width, int64_t rows, int64_t count, float *to, int64_t to_row) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t k = 0; k < count; k += LANES)
            *(floats *)(to + i * to_row + k) = load(x + i * width + k, count - k, 0);
}

#define EACH_BLOCK(columns)                                                                \
    for (int64_t first = 0; first < (columns); first += WIDTH)                             \
        for (int64_t here = between(0, (columns) - first, WIDTH), vectors = UP(here, LANES) / LANES; vectors; vectors = 0)

/* out (rows, rank) = x (rows, inputs) times weights (inputs, rank) */
void thin(const number *x, const float *weights, float *out, int64_t rows, int64_t inputs, int64_t rank, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t row = 0; row < rows; row += TILE) {
        const int64_t some = between(0, rows - row, TILE);
        for (int64_t begun = 0; begun < inputs; begun += RUN) {
            const int64_t count = between(0, inputs - begun, RUN);
            float wide_x[TILE][RUN];
            in_fp32(x + row * inputs + begun, inputs, some, count, wide_x[0], RUN);
            EACH_BLOCK(rank) {
                lanes sums[TILE][VECTORS] = {0};
                for (int64_t i = 0; begun && i < some; i++)
                    for (int64_t v = 0; v < vectors; v++)
                        sums[i][v] = *(const floats *)(out + (row + i) * rank + first + v * LANES);
                add_products(sums, wide_x[0], RUN, 1, weights + begun * rank + first, rank, count, some, vectors);
                for (int64_t i = 0; i < some; i++)
                    for (int64_t v = 0; v < vectors; v++)
                        *(floats *)(out + (row + i) * rank + first + v * LANES) = sums[i][v];
            }
        }
    }
}

/* out (rows, outputs) = low (rows, rank) times weights (rank, outputs), plus what is given, which may be null. The
 * weights' rows are `weights_row` apart, a multiple of WIDTH. */
void spread(const float *low, const float *weights, int64_t weights_row, const number *given, number *out,
                int64_t rows, int64_t rank, int64_t outputs, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t first = 0; first < outputs; first += WIDTH) {
        const int64_t here = between(0, outputs - first, WIDTH);
        for (int64_t row = 0; row < rows; row += TILE) {
            const int64_t some = between(0, rows - row, TILE);
            lanes sums[TILE][VECTORS] = {0};
            for (int64_t i = 0; given && i < some; i++)
                for (int64_t c = 0; c < here; c += LANES)
                    sums[i][c / LANES] = load(given + (row + i) * outputs + first + c, here - c, 0);
            add_products(sums, low + row * rank, rank, 1, weights + first, weights_row, rank, some, VECTORS);
            for (int64_t i = 0; i < some; i++)
                for (int64_t c = 0; c < here; c += LANES)
                    store(out + (row + i) * outputs + first + c, sums[i][c / LANES], here - c);
        }
    }
}

/* out (rank, inputs) = low (rows, rank) transposed, times x (rows, inputs). Rows of out are `out_row` apart, a multiple of
 * WIDTH. */
void gather(const number *x, const float *low, float *out, int64_t out_row, int64_t rows, int64_t inputs, int64_t rank,
            int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t first = 0; first < inputs; first += WIDTH) {
        const int64_t here = between(0, inputs - first, WIDTH);
        for (int64_t begun = 0; begun < rows; begun += RUN) {
            const int64_t count = between(0, rows - begun, RUN);
            float wide_x[RUN][WIDTH] = {0};
            in_fp32(x + begun * inputs + first, inputs, count, here, wide_x[0], WIDTH);
            for (int64_t r = 0; r < rank; r += TILE) {
                lanes sums[TILE][VECTORS] = {0};
                for (int64_t i = 0; begun && i < TILE; i++)
                    for (int64_t v = 0; v < VECTORS; v++)
                        sums[i][v] = *(const floats *)(out + (r + i) * out_row + first + v * LANES);
                add_products(sums, low + begun * rank + r, 1, rank, wide_x[0], WIDTH, count, TILE, VECTORS);
                for (int64_t i = 0; i < TILE; i++)
                    for (int64_t v = 0; v < VECTORS; v++)
                        *(floats *)(out + (r + i) * out_row + first + v * LANES) = sums[i][v];
            }
        }
    }
}
