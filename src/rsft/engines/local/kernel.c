/* Attention of candidates' newest tokens over pages of keys and values, on a CPU.
 *
 * A query looks at its trunk, its stem and its own pages in turn, with a running softmax (1805.02867): what was found
 * so far fades when a higher score turns up. Rows under one stem go through it together, so that its keys and values
 * are unpacked once for all of them. What comes of a row does not depend on which others go with it.
 *
 * Compiled with PAGE, KEY_WIDTH, VALUE_WIDTH, and NUMBER_BF16, NUMBER_FP16 or NUMBER_FP32.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16
#define HALVES (PAGE / LANES)
typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t places __attribute__((vector_size(4 * LANES)));

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

/* What one step of a product multiplies in each lane: two neighbouring bf16 numbers where the processor can do that,
 * else one number in fp32. */
#if defined(NUMBER_BF16) && defined(__AVX512BF16__)
#include <immintrin.h>
#define PER_STEP 2
typedef uint32_t unit;
static inline void pack(unit to[PAGE / PER_STEP], const lanes x[HALVES]) {
    for (int half = 0; half < HALVES; half += 2)
        _mm512_storeu_ps(to + half * LANES / 2, (__m512)_mm512_cvtne2ps_pbh((__m512)x[half + 1], (__m512)x[half]));
}
static inline lanes step(lanes sum, unit a, lanes b) {
    return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(a), (__m512bh)b);
}
#else
#define PER_STEP 1
typedef float unit;
static inline void pack(unit to[PAGE / PER_STEP], const lanes x[HALVES]) { memcpy(to, x, PAGE * sizeof(unit)); }
static inline lanes step(lanes sum, unit a, lanes b) { return sum + a * b; }
#endif

#define UP(x, to) (((x) + (to) - 1) / (to) * (to))
#define KEY_UNITS UP(UP(KEY_WIDTH, PER_STEP) / PER_STEP, LANES)
#define CHUNKS (UP(VALUE_WIDTH, LANES) / LANES)
#define TOGETHER 4 /* queries whose sums are held in registers at once */
#define LOWEST -1e30f

static inline int least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline lanes choose(places which, lanes yes, lanes no) {
    return (lanes)((which & (places)yes) | (~which & (places)no));
}

/* 2 to the power of each x <= 0, with a relative error below 2e-7; NaN stays. The polynomial is a minimax fit. */
static inline lanes power(lanes x) {
    lanes scale, part;
    x = choose(x < -126.0f, (lanes){0} - 126.0f, x);
    for (int i = 0; i < LANES; i++) part[i] = floorf(x[i]);
    scale = (lanes)((__builtin_convertvector(part, places) + 127) << 23);
    part = x - part;
    lanes p = part * 1.877576645e-3f + 8.989340163e-3f;
    p = p * part + 5.582631799e-2f;
    p = p * part + 2.401536171e-1f;
    p = p * part + 6.931530732e-1f;
    p = p * part + 9.999999251e-1f;
    return p * scale;
}

/* The sum of all lanes, or the highest, in every lane. */
#define ACROSS(name, joined)                                                                    \
    static inline lanes name(lanes x) {                                                         \
        lanes y;                                                                                \
        y = __builtin_shuffle(x, (places){8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7}); \
        x = joined;                                                                             \
        y = __builtin_shuffle(x, (places){4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11}); \
        x = joined;                                                                             \
        y = __builtin_shuffle(x, (places){2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13}); \
        x = joined;                                                                             \
        y = __builtin_shuffle(x, (places){1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14}); \
        return joined;                                                                          \
    }
ACROSS(sum_across, x + y)
ACROSS(highest_across, choose(x > y, x, y))

/* Rows and columns of 16 x 16 change places. */
static inline void transpose(lanes r[LANES]) {
#define STAGE(far, low, high)                                       \
    for (int i = 0; i < LANES; i++)                                 \
        if (!(i & far)) {                                           \
            lanes a = r[i], b = r[i + far];                         \
            r[i] = __builtin_shuffle(a, b, low);                    \
            r[i + far] = __builtin_shuffle(a, b, high);             \
        }
    STAGE(1, ((places){0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30}),
          ((places){1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31}))
    STAGE(2, ((places){0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29}),
          ((places){2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31}))
    STAGE(4, ((places){0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27}),
          ((places){4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31}))
    STAGE(8, ((places){0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23}),
          ((places){8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31}))
#undef STAGE
}

/* Up to PAGE tokens as products want them: keys with tokens in the lanes, values with columns. */
typedef struct {
    lanes keys[KEY_UNITS][HALVES];
    lanes values[PAGE / PER_STEP][CHUNKS];
} unpacked;

static inline void units(unit to[KEY_UNITS], const number *from) {
#if PER_STEP == 1
    for (int d = 0; d < KEY_WIDTH; d++) to[d] = wide(from[d]);
#else
    memcpy(to, from, KEY_WIDTH * sizeof(number));
#endif
}

static void unpack(unpacked *to, const number *keys, const number *values, int tokens) {
    for (int half = 0; half * LANES < tokens; half++) {
        unit rows[LANES][KEY_UNITS] __attribute__((aligned(64)));
        int here = least(LANES, tokens - half * LANES);
        if (here < LANES || KEY_UNITS * PER_STEP > KEY_WIDTH) memset(rows, 0, sizeof rows);
        for (int j = 0; j < here; j++) units(rows[j], keys + (half * LANES + j) * KEY_WIDTH);
        for (int d = 0; d < KEY_UNITS; d += LANES) {
            lanes r[LANES];
            for (int j = 0; j < LANES; j++) r[j] = *(lanes *)&rows[j][d];
            transpose(r);
            for (int i = 0; i < LANES; i++) to->keys[d + i][half] = r[i];
        }
    }
    for (int j = 0; j < tokens; j += PER_STEP) {
        unit *row = (unit *)to->values[j / PER_STEP];
        const number *from = values + j * VALUE_WIDTH;
        for (int d = 0; d < VALUE_WIDTH; d++) {
#if PER_STEP == 1
            row[d] = wide(from[d]);
#else
            row[d] = from[d] | (j + 1 < tokens ? (uint32_t)from[VALUE_WIDTH + d] << 16 : 0);
#endif
        }
        for (int d = VALUE_WIDTH; d < CHUNKS * LANES; d++) row[d] = 0;
    }
}

/* How a layer weighs what it looks at: scores are in units of log 2. No cap or window: 0. */
typedef struct {
    float scaling, softcap;
    int64_t window;
} law;

/* TOGETHER queries and what they have found: the weighted sum of values, the highest score, and the sum of weights, the
 * last two in every lane. */
typedef struct {
    lanes found[TOGETHER][CHUNKS], highest[TOGETHER], total[TOGETHER];
    unit queries[TOGETHER][KEY_UNITS];
    int64_t sees_from; /* the first position in the window */
} seekers;

/* The queries look at `tokens` tokens, the first of which is at position `start`. */
static void look(seekers *who, const unpacked *at, int tokens, int64_t start, const law *by) {
    const places in_order = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    lanes scores[TOGETHER][HALVES], highest[TOGETHER], total[TOGETHER];
    memset(scores, 0, sizeof scores);
    for (int d = 0; d < KEY_UNITS; d++)
        for (int half = 0; half < HALVES; half++)
            for (int i = 0; i < TOGETHER; i++)
                scores[i][half] = step(scores[i][half], who->queries[i][d], at->keys[d][half]);

    int from = who->sees_from > start ? least(PAGE, who->sees_from - start) : 0;
    for (int i = 0; i < TOGETHER; i++) highest[i] = who->highest[i];
    for (int half = 0; half < HALVES; half++) {
        places place = in_order + half * LANES, seen = (place >= from) & (place < tokens);
        for (int i = 0; i < TOGETHER; i++) {
            lanes score = scores[i][half] * by->scaling;
            if (by->softcap > 0)
                for (int j = 0; j < LANES; j++) score[j] = by->softcap * tanhf(score[j] / by->softcap);
            scores[i][half] = choose(seen, score, (lanes){0} - INFINITY);
            highest[i] = choose(scores[i][half] > highest[i], scores[i][half], highest[i]);
        }
    }
    for (int i = 0; i < TOGETHER; i++) highest[i] = highest_across(highest[i]);
    for (int i = 0; i < TOGETHER; i++) {
        total[i] = (lanes){0};
        for (int half = 0; half < HALVES; half++) {
            scores[i][half] = power(scores[i][half] - highest[i]);
            total[i] += scores[i][half];
        }
    }
    unit weights[TOGETHER][PAGE / PER_STEP];
    for (int i = 0; i < TOGETHER; i++)
        pack(weights[i], scores[i]);
    for (int i = 0; i < TOGETHER; i++) {
        lanes fade = power(who->highest[i] - highest[i]);
        who->highest[i] = highest[i];
        who->total[i] = who->total[i] * fade + sum_across(total[i]);
        for (int c = 0; c < CHUNKS; c++) who->found[i][c] *= fade;
    }

    int steps = (tokens + PER_STEP - 1) / PER_STEP;
    int c = 0;
    for (; c + 4 <= CHUNKS; c += 4) {
        lanes sums[TOGETHER][4];
        for (int i = 0; i < TOGETHER; i++)
            for (int k = 0; k < 4; k++) sums[i][k] = who->found[i][c + k];
        for (int j = 0; j < steps; j++)
            for (int k = 0; k < 4; k++)
                for (int i = 0; i < TOGETHER; i++) sums[i][k] = step(sums[i][k], weights[i][j], at->values[j][c + k]);
        for (int i = 0; i < TOGETHER; i++)
            for (int k = 0; k < 4; k++) who->found[i][c + k] = sums[i][k];
    }
    for (; c < CHUNKS; c++)
        for (int i = 0; i < TOGETHER; i++)
            for (int j = 0; j < steps; j++) who->found[i][c] = step(who->found[i][c], weights[i][j], at->values[j][c]);
}

/* Up to PAGE tokens of a text, from position `start` on, that rows of a block look at. They lie in a page of the pool,
 * or of a trunk (`in`: 0, or its number from 1 on). */
typedef struct {
    int64_t in, page, start, tokens, first_row, rows;
} visit;
/* A candidate: which of the queries, and the position of its newest token. */
typedef struct {
    int64_t number, position;
} row;
/* Candidates under one stem. */
typedef struct {
    int64_t first_row, rows, first_visit, visits;
} block;
/* A layer's keys and values: of a trunk (heads, tokens, width), or of the pool (pages, heads, PAGE, width), `tokens` 0. */
typedef struct {
    const number *keys, *values;
    int64_t tokens;
} states;

/* Where the first token of a visit is, counted in tokens. */
static inline int64_t first_token(const visit *v, const states *in, int64_t head, int64_t heads) {
    return in->tokens ? head * in->tokens + v->page * PAGE : (v->page * heads + head) * PAGE;
}

/* Have a visit's keys and values brought near. */
static inline void fetch(const states *from, const visit *v, int64_t head, int64_t heads) {
    const states *in = &from[v->in];
    int64_t place = first_token(v, in, head, heads);
    for (int64_t i = 0; i < v->tokens * KEY_WIDTH; i += 64 / sizeof(number))
        __builtin_prefetch(in->keys + place * KEY_WIDTH + i);
    for (int64_t i = 0; i < v->tokens * VALUE_WIDTH; i += 64 / sizeof(number))
        __builtin_prefetch(in->values + place * VALUE_WIDTH + i);
}

/* q, out: (rows, heads, group, width). from[0] is the pool. Scaling and cap make scores in units of log 2; a cap or
 * window of 0 is none. */
void attend(const number *q, number *out, const states *from, const block *blocks, int64_t count, const row *rows,
            const visit *visits, int64_t heads, int64_t group, float scaling, float softcap, int64_t window,
            int threads) {
    const law by = {scaling, softcap, window};
    const int per_row = (group + TOGETHER - 1) / TOGETHER;
#pragma omp parallel for collapse(2) schedule(dynamic) num_threads(threads)
    for (int64_t b = 0; b < count; b++)
        for (int64_t head = 0; head < heads; head++) {
            const block *here = &blocks[b];
            const row *members = &rows[here->first_row];
            const int sets = here->rows * per_row;
            seekers who[sets];
            memset(who, 0, sizeof who);
            for (int s = 0; s < sets; s++) {
                const row *of = &members[s / per_row];
                int first = s % per_row * TOGETHER;
                for (int i = 0; i < TOGETHER; i++) {
                    who[s].highest[i] += LOWEST;
                    if (first + i < group)
                        units(who[s].queries[i], q + ((of->number * heads + head) * group + first + i) * KEY_WIDTH);
                }
                who[s].sees_from = window ? of->position - window + 1 : 0;
            }
            unpacked page;
            for (int v = 0; v < here->visits; v++) {
                const visit *now = &visits[here->first_visit + v];
                const states *in = &from[now->in];
                int64_t place = first_token(now, in, head, heads);
                unpack(&page, in->keys + place * KEY_WIDTH, in->values + place * VALUE_WIDTH, now->tokens);
                if (v + 1 < here->visits) fetch(from, now + 1, head, heads);
                for (int s = now->first_row * per_row; s < (now->first_row + now->rows) * per_row; s++)
                    look(&who[s], &page, now->tokens, now->start, &by);
            }
            for (int s = 0; s < sets; s++) {
                int first = s % per_row * TOGETHER;
                for (int i = 0; i < TOGETHER && first + i < group; i++) {
                    int64_t query = (members[s / per_row].number * heads + head) * group + first + i;
                    for (int c = 0; c < CHUNKS; c++) who[s].found[i][c] /= who[s].total[i];
                    for (int d = 0; d < VALUE_WIDTH; d++)
                        out[query * VALUE_WIDTH + d] = narrow(((float *)who[s].found[i])[d]);
                }
            }
        }
}
