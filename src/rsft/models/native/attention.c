/* Attention over pages of keys and values, on a CPU.
 *
 * Tokens look at the texts before them page by page, with a running softmax (1805.02867): what was found so far fades
 * when a higher score turns up. Tokens that look at the same pages go together, so that keys and values are unpacked
 * once for all of them. What comes of a token does not depend on which others go with it.
 *
 * Compiled with PAGE (a multiple of 32), KEY_WIDTH and VALUE_WIDTH, and as `lanes.h` says.
 */
#include "lanes.h"

#define HALVES (PAGE / LANES)

/* What one step of a product multiplies in each lane: two neighbouring bf16 numbers where the processor is quick at
 * that, else one number in fp32. Those with AVX512-FP16 are not: measured, half as many bf16 numbers in a second. */
#if defined(NUMBER_BF16) && defined(__AVX512BF16__) && !defined(__AVX512FP16__)
#include <immintrin.h>
#define PER_STEP 2
typedef uint32_t unit;
static inline lanes step(lanes sum, unit a, lanes b) {
    return (lanes)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(a), (__m512bh)b);
}
static inline void pack(unit to[PAGE / PER_STEP], const lanes x[HALVES]) {
    for (int half = 0; half < HALVES; half += 2)
        _mm512_storeu_ps(to + half * LANES / 2, (__m512)_mm512_cvtne2ps_pbh((__m512)x[half + 1], (__m512)x[half]));
}
#else
#define PER_STEP 1
typedef float unit;
static inline lanes step(lanes sum, unit a, lanes b) { return sum + a * b; }
static inline void pack(unit to[PAGE / PER_STEP], const lanes x[HALVES]) { memcpy(to, x, PAGE * sizeof(unit)); }
#endif

#define KEY_UNITS UP(UP(KEY_WIDTH, PER_STEP) / PER_STEP, LANES)
#define CHUNKS (UP(VALUE_WIDTH, LANES) / LANES)
#define TOGETHER 4 /* queries whose sums are held in registers at once */
#define LOWEST -1e30f

/* -- where keys and values are ------------------------------------------------------------------------------------ */

/* A layer's keys and values: of a trunk (heads, tokens, width), or of the pool (pages, heads, PAGE, width), where
 * `tokens` is 0 and a token's place is page * PAGE + its place in there. */
typedef struct {
    number *keys, *values;
    int64_t tokens;
} states;

static inline int64_t token_at(const states *in, int64_t place, int64_t head, int64_t heads) {
    return in->tokens ? head * in->tokens + place : (place / PAGE * heads + head) * PAGE + place % PAGE;
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
        int here = between(0, tokens - half * LANES, LANES);
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

/* -- looking ------------------------------------------------------------------------------------------------------ */

/* How a layer weighs what it looks at: scores are in units of log 2. No cap or window: 0. */
typedef struct {
    float scaling, softcap;
    int64_t window;
} law;

/* TOGETHER queries and what they have found: the weighted sum of values, the highest score, and the sum of weights, the
 * last two in every lane. `token` is which of the block's each belongs to, or -1. */
typedef struct {
    lanes found[TOGETHER][CHUNKS], highest[TOGETHER], total[TOGETHER];
    unit queries[TOGETHER][KEY_UNITS];
    int64_t position[TOGETHER];
    int token[TOGETHER];
} seekers;

/* Up to PAGE tokens that lie together, and are `start` and the following in their text. Tokens `first` to `last` of the
 * block look at those of them that are not behind themselves. */
typedef struct {
    int64_t in, place, start, tokens, first, last;
} visit;

static void look(seekers *who, const unpacked *at, const visit *of, const law *by) {
    const places in_order = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    int from[TOGETHER], to[TOGETHER], most = 0;
    for (int i = 0; i < TOGETHER; i++) {
        int looks = who->token[i] >= of->first && who->token[i] < of->last;
        from[i] = by->window ? between(0, who->position[i] - by->window + 1 - of->start, PAGE) : 0;
        to[i] = looks ? between(0, who->position[i] + 1 - of->start, of->tokens) : 0;
        most = to[i] > most ? to[i] : most;
    }
    if (most == 0) return;

    lanes scores[TOGETHER][HALVES], highest[TOGETHER], total[TOGETHER];
    memset(scores, 0, sizeof scores);
    for (int d = 0; d < KEY_UNITS; d++)
        for (int half = 0; half < HALVES; half++)
            for (int i = 0; i < TOGETHER; i++)
                scores[i][half] = step(scores[i][half], who->queries[i][d], at->keys[d][half]);

    for (int i = 0; i < TOGETHER; i++) {
        highest[i] = who->highest[i];
        for (int half = 0; half < HALVES; half++) {
            places place = in_order + half * LANES;
            lanes score = scores[i][half] * by->scaling;
            if (by->softcap > 0) score = by->softcap * tangent(score / by->softcap);
            scores[i][half] = choose((place >= from[i]) & (place < to[i]), score, (lanes){0} - INFINITY);
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
    for (int i = 0; i < TOGETHER; i++) pack(weights[i], scores[i]);
    for (int i = 0; i < TOGETHER; i++) {
        lanes fade = power(who->highest[i] - highest[i]);
        who->highest[i] = highest[i];
        who->total[i] = who->total[i] * fade + sum_across(total[i]);
        for (int c = 0; c < CHUNKS; c++) who->found[i][c] *= fade;
    }

    int steps = UP(most, PER_STEP) / PER_STEP, c = 0;
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

/* -- a layer's attention ------------------------------------------------------------------------------------------ */

/* A token of the pass, where its own key and value are kept, and its position in its text. */
typedef struct {
    int64_t in, place, position;
} token;

/* Tokens that look at the same pages, or at some of them: numbers in a list of tokens, and visits. */
typedef struct {
    int64_t first_token, tokens, first_visit, visits;
} block;

/* Heads and how their queries are gathered in sets of TOGETHER: several tokens' in a set, or several sets for one. */
typedef struct {
    int64_t heads, group;
    int tokens_in_set, sets_of_token;
} shape;

static inline int first_set(const shape *as, int64_t token) { return token / as->tokens_in_set * as->sets_of_token; }

/* Which token of the block the i-th query of a set belongs to, and which of its group it is; -1 for none. */
static inline int whose(const shape *as, int set, int i, int tokens, int *of_group) {
    int turn = as->sets_of_token == 1 ? i / as->group : 0;
    int mine = set / as->sets_of_token * as->tokens_in_set + turn;
    *of_group = as->sets_of_token == 1 ? i % as->group : set % as->sets_of_token * TOGETHER + i;
    return turn < as->tokens_in_set && mine < tokens && *of_group < as->group ? mine : -1;
}

static inline void fetch(const states *in, int64_t at, int64_t tokens) {
    for (int64_t i = 0; i < tokens * KEY_WIDTH; i += 64 / sizeof(number))
        __builtin_prefetch(in->keys + at * KEY_WIDTH + i);
    for (int64_t i = 0; i < tokens * VALUE_WIDTH; i += 64 / sizeof(number))
        __builtin_prefetch(in->values + at * VALUE_WIDTH + i);
}

static void attend_block(const number *q, number *out, const states *kept, const block *here, const int64_t *numbers,
                         const token *tokens, const visit *visits, int64_t head, const shape *as, const law *by) {
    const int sets = first_set(as, here->tokens - 1) + as->sets_of_token;
    seekers who[sets];
    memset(who, 0, sizeof who);
    for (int s = 0; s < sets; s++)
        for (int i = 0; i < TOGETHER; i++) {
            int of_group, mine = who[s].token[i] = whose(as, s, i, here->tokens, &of_group);
            who[s].highest[i] += LOWEST;
            if (mine < 0) continue;
            who[s].position[i] = tokens[numbers[mine]].position;
            units(who[s].queries[i], q + ((numbers[mine] * as->heads + head) * as->group + of_group) * KEY_WIDTH);
        }
    unpacked page;
    for (const visit *v = visits; v < visits + here->visits; v++) {
        const states *in = &kept[v->in];
        int64_t at = token_at(in, v->place, head, as->heads);
        unpack(&page, in->keys + at * KEY_WIDTH, in->values + at * VALUE_WIDTH, v->tokens);
        if (v + 1 < visits + here->visits) {
            in = &kept[v[1].in];
            fetch(in, token_at(in, v[1].place, head, as->heads), v[1].tokens);
        }
        int end = first_set(as, v->last - 1) + as->sets_of_token;
        for (int s = first_set(as, v->first); s < end; s++) look(&who[s], &page, v, by);
    }
    for (int s = 0; s < sets; s++)
        for (int i = 0; i < TOGETHER; i++) {
            int of_group, mine = whose(as, s, i, here->tokens, &of_group);
            if (mine < 0) continue;
            number *to = out + ((numbers[mine] * as->heads + head) * as->group + of_group) * VALUE_WIDTH;
            for (int c = 0; c < CHUNKS; c++)
                store(to + c * LANES, who[s].found[i][c] / who[s].total[i], VALUE_WIDTH - c * LANES);
        }
}

/* q: (tokens, heads, group, KEY_WIDTH), k: (tokens, heads, KEY_WIDTH), v and out likewise. Keeps keys and values in
 * `kept`, of which the first is the pool, and looks. Scaling and cap make scores in units of log 2. */
void attend(const number *q, const number *k, const number *v, number *out, const states *kept, const token *tokens,
            int64_t count, const block *blocks, int64_t block_count, const int64_t *numbers, const visit *visits,
            int64_t heads, int64_t group, float scaling, float softcap, int64_t window, int threads) {
    const law by = {scaling, softcap, window};
    const shape as = {heads, group, group < TOGETHER ? TOGETHER / group : 1, UP(group, TOGETHER) / TOGETHER};
#pragma omp parallel num_threads(threads)
    {
#pragma omp for
        for (int64_t n = 0; n < count; n++)
            for (int64_t head = 0; head < heads; head++) {
                const states *in = &kept[tokens[n].in];
                int64_t at = token_at(in, tokens[n].place, head, heads);
                int64_t of = n * heads + head;
                memcpy(in->keys + at * KEY_WIDTH, k + of * KEY_WIDTH, KEY_WIDTH * sizeof(number));
                memcpy(in->values + at * VALUE_WIDTH, v + of * VALUE_WIDTH, VALUE_WIDTH * sizeof(number));
            }
#pragma omp for collapse(2) schedule(dynamic)
        for (int64_t b = 0; b < block_count; b++)
            for (int64_t head = 0; head < heads; head++)
                attend_block(q, out, kept, &blocks[b], numbers + blocks[b].first_token, tokens,
                             visits + blocks[b].first_visit, head, &as, &by);
    }
}
