/* Drawing tokens by the sampling law, on a CPU: the same law as in `law.py`, a row at a time.
 *
 * Compiled as `lanes.h` says.
 */
#include "lanes.h"

#define BLOCK (2 * LANES) /* neighbouring tokens whose weights are summed, and their highest found */
#define FIRST_LINE 0.00390625f /* the likeliest tokens are looked for above this, then above a sixteenth of it, ... */

typedef struct {
    float temperature, top_p, min_p;
    int64_t top_k;
} law;

/* A row's weights: proportional to its probabilities, 1 for the likeliest. */
typedef struct {
    lanes *weights, *likely; /* all of them, and room for some */
    float *sums, *tops;      /* of each block */
    int64_t blocks;
    double total;
} row;

/* Two vectors of a block, with nothing for the tokens that are beyond the last. */
static inline void load_block(lanes to[2], const number *from, int64_t tokens) {
    for (int i = 0; i < 2; i++) to[i] = load(from + i * LANES, tokens - i * LANES, -INFINITY);
}

static float highest_of(const number *logits, int64_t vocabulary) {
    lanes highest = (lanes){0} - INFINITY, x[2];
    for (int64_t v = 0; v < vocabulary; v += BLOCK) {
        load_block(x, logits + v, vocabulary - v);
        highest = choose(x[0] > highest, x[0], highest);
        highest = choose(x[1] > highest, x[1], highest);
    }
    return highest_across(highest)[0];
}

/* The sum of 2 to the power of (logit - highest) * factor over the vocabulary; what goes into it is left in `kept`. */
static double weigh(const number *logits, int64_t vocabulary, float highest, float factor, row *kept) {
    double total = 0;
    for (int64_t v = 0, block = 0; v < vocabulary; v += BLOCK, block++) {
        lanes x[2];
        load_block(x, logits + v, vocabulary - v);
        for (int i = 0; i < 2; i++) x[i] = power((x[i] - highest) * factor);
        float sum = sum_across(x[0] + x[1])[0];
        total += sum;
        if (!kept) continue;
        kept->weights[2 * block] = x[0];
        kept->weights[2 * block + 1] = x[1];
        kept->sums[block] = sum;
        kept->tops[block] = highest_across(choose(x[0] > x[1], x[0], x[1]))[0];
    }
    return total;
}

/* How many of these weights are at least `line`, and their sum. */
static double mass_above(const lanes *weights, int64_t count, float line, int64_t *above) {
    double sum = 0;
    places tally = {0};
    for (int64_t i = 0; i < count; i += 64) {
        lanes some = {0};
        for (int64_t j = i; j < count && j < i + 64; j++) {
            places over = weights[j] >= line;
            some += (lanes)(over & (places)weights[j]);
            tally -= over;
        }
        sum += sum_across(some)[0];
    }
    *above = 0;
    for (int i = 0; i < LANES; i++) *above += tally[i];
    return sum;
}

/* The highest line above which there are `count` of these weights, if count > 0, and a sum of `mass`. */
static float line_of(const lanes *weights, int64_t vectors, int64_t count, double mass) {
    union { int32_t bits; float value; } line = {0};
    for (int32_t bit = 1 << 29; bit; bit >>= 1) { /* floats of one sign are ordered as whole numbers are */
        line.bits |= bit;
        int64_t above;
        double sum = line.value <= 1 ? mass_above(weights, vectors, line.value, &above) : -1;
        if (sum < 0 || above < count || sum < mass) line.bits &= ~bit;
    }
    return line.value;
}

/* The least weight that the law keeps. */
static float cut_of(const row *of, const law *by) {
    if (!by->top_k && by->top_p >= 1) return by->min_p;
    for (float line = FIRST_LINE;; line = line < 1e-30f ? 0 : line / 16) {
        int64_t vectors = 0, above;
        for (int64_t block = 0; block < of->blocks; block++)
            if (of->tops[block] >= line) {
                of->likely[vectors++] = of->weights[2 * block];
                of->likely[vectors++] = of->weights[2 * block + 1];
            }
        double mass = mass_above(of->likely, vectors, line, &above), total = of->total;
        int enough = by->top_k ? above >= by->top_k : mass >= by->top_p * total;
        if (!enough && line > 0) continue;
        float cut = by->min_p, kth = 0;
        if (by->top_k) {
            kth = line_of(of->likely, vectors, by->top_k, 0);
            total = mass_above(of->likely, vectors, kth, &above);
        }
        if (by->top_p < 1) {
            float nucleus = line_of(of->likely, vectors, 0, by->top_p * total);
            cut = nucleus > cut ? nucleus : cut;
        }
        return kth > cut ? kth : cut;
    }
}

/* The first token at which the running sum of kept weights exceeds uniform * their sum; its weight and that sum. */
static int64_t invert(row *of, float cut, float uniform, float *weight, double *mass) {
    int64_t block = 0, token = 0, above;
    double running = 0;
    *mass = 0;
    for (int64_t b = 0; b < of->blocks; b++) {
        if (of->tops[b] < cut) of->sums[b] = 0;
        else if (cut > 0) of->sums[b] = mass_above(&of->weights[2 * b], 2, cut, &above);
        *mass += of->sums[b];
    }
    /* The sums are added up in one order, so one block is always the first to exceed what is less than all. */
    while (running + of->sums[block] <= uniform * *mass) running += of->sums[block++];
    const float *weights = (const float *)&of->weights[2 * block];
    for (int i = 0; i < BLOCK; i++) {
        if (weights[i] < cut || weights[i] == 0) continue;
        token = i;
        running += weights[i];
        if (running > uniform * *mass) break;
    }
    *weight = weights[token];
    return block * BLOCK + token;
}

/* The first token with the highest logit. */
static int64_t first_of(const number *logits, int64_t vocabulary, float highest) {
    for (int64_t v = 0; v < vocabulary; v++)
        if (wide(logits[v]) == highest) return v;
    return 0;
}

/* A token for each row of logits (rows, vocabulary), and its log-probabilities, in nats, under the law and the model.
 * The law weighs `shaped` logits, which may be the same. Returns 0, or -1 where there is no memory. */
int draw(const number *logits, const number *shaped, const float *uniforms, int64_t rows, int64_t vocabulary,
         float temperature, float top_p, float min_p, int64_t top_k, int threads, int64_t *tokens, float *logprobs,
         float *model_logprobs) {
    const law by = {temperature, top_p, min_p, top_k};
    const int64_t blocks = (vocabulary + BLOCK - 1) / BLOCK;
    int failed = 0;
#pragma omp parallel num_threads(threads) reduction(| : failed)
    {
        row of = {aligned_alloc(64, blocks * 128), aligned_alloc(64, blocks * 128), malloc(blocks * 4),
                  malloc(blocks * 4), blocks, 0};
        failed = !of.weights || !of.likely || !of.sums || !of.tops;
#pragma omp for schedule(dynamic)
        for (int64_t r = 0; r < rows; r++) {
            if (failed) continue;
            const number *mine = logits + r * vocabulary, *told = shaped + r * vocabulary;
            const float log2e = 1.442695041f;
            float highest = highest_of(mine, vocabulary), top = mine == told ? highest : highest_of(told, vocabulary);
            int as_is = mine == told && temperature == 1;
            double norm = weigh(mine, vocabulary, highest, log2e, as_is ? &of : NULL);
            if (!(norm > 0)) { /* not a number */
                tokens[r] = 0;
                logprobs[r] = model_logprobs[r] = NAN;
                continue;
            }
            if (temperature == 0) {
                tokens[r] = first_of(told, vocabulary, top);
                logprobs[r] = 0;
            } else {
                of.total = as_is ? norm : weigh(told, vocabulary, top, log2e / temperature, &of);
                float weight;
                double mass;
                tokens[r] = invert(&of, cut_of(&of, &by), uniforms[r], &weight, &mass);
                logprobs[r] = log(weight / mass);
            }
            model_logprobs[r] = wide(mine[tokens[r]]) - highest - log(norm);
        }
        free(of.weights), free(of.likely), free(of.sums), free(of.tops);
    }
    return -failed;
}
