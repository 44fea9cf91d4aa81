/* See ekz.h. The arithmetic follows docs/ekz-format.md step by step; all of it is in integers but for one product of
 * doubles a code (see code_positions), so that every machine restores the same bytes. */
#include "ekz.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    HEADER = 32, MAX_INDEX = 1 << 24, MAX_TENSORS = 1 << 16, MAX_FILES = 16, MAX_RANK = 8, MAX_GAP_BITS = 12,
    MAX_SYMBOLS = 4096, MAX_TAPS = 256, MAX_LENGTH = 15, TAP_CLASSES = 9, MAX_LANES = 1024,
    BINS = 16, SCALES = 24, LEANINGS = 4, SIZES = 4, LEANS = 2 * LEANINGS - 1,
    STEP_ELEMENTS = 1 << 18, SEGMENT_DECISIONS = 1 << 21, LOW = 1 << 16, SYMBOL_TOTAL = 1 << 12
};
enum { RAW, DEFLATE, HUFFMAN, ADAPTIVE };
enum { FLAT, ROWS_FIRST, ROWS_THEN_TAPS, ROWS_LAST, DEPTHWISE };

static const uint8_t item_bytes[] = {1, 1, 2, 2, 4, 4, 8, 8, 2, 4, 8};

/* ---- memory and errors ------------------------------------------------------------------------------------------- */
struct ekz_block { struct ekz_block *next; uint64_t align; };
struct job {
    jmp_buf out; struct ekz *box; const char *tensor; /* the one that is being decoded, for messages */
};
static void release_until(struct ekz_block **list, struct ekz_block *kept) {
    while (*list != kept) { struct ekz_block *next = (*list)->next; free(*list); *list = next; }
}

static void fail(struct job *j, int status, const char *reason) {
    const char *name = j->tensor ? j->tensor : "";
    snprintf(j->box->error, sizeof j->box->error, *name ? "tensor '%.60s': %s" : "%s%s", name, reason);
    j->box->status = status;
    longjmp(j->out, 1);
}

static void *allot(struct job *j, struct ekz_block **list, uint64_t count, size_t each) {
    struct ekz_block *b = NULL;
    if (count < (SIZE_MAX - sizeof *b) / each) b = calloc(1, sizeof *b + (size_t)count * each);
    if (!b) fail(j, EKZ_NO_MEMORY, "not enough memory");
    b->next = *list, *list = b; return b + 1;
}

#define REFUSE(j, condition, reason) do { if (condition) fail(j, EKZ_DAMAGED, reason); } while (0)
#define KEEP(j, count, type) ((type *)allot(j, &(j)->box->memory, count, sizeof(type)))
#define SCRATCH(j, count, type) ((type *)allot(j, &(j)->box->scratch, count, sizeof(type)))

/* ---- checksums, numbers, inflate --------------------------------------------------------------------------------- */
static uint64_t little(const uint8_t *data, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)data[i] << 8 * i;
    return value;
}
static uint32_t crc32_of(const uint8_t *data, size_t size) {
    uint32_t t[4][256], crc = 0xFFFFFFFFu; /* four bytes at a time */
    for (uint32_t i = 0; i < 256; i++) {
        t[0][i] = i;
        for (int k = 0; k < 8; k++) t[0][i] = t[0][i] >> 1 ^ (t[0][i] & 1 ? 0xEDB88320u : 0);
    }
    for (int k = 1; k < 4; k++) for (int i = 0; i < 256; i++) t[k][i] = t[k - 1][i] >> 8 ^ t[0][t[k - 1][i] & 255];
    for (; size >= 4; data += 4, size -= 4) {
        crc ^= (uint32_t)little(data, 4);
        crc = t[3][crc & 255] ^ t[2][crc >> 8 & 255] ^ t[1][crc >> 16 & 255] ^ t[0][crc >> 24];
    }
    for (; size; size--) crc = t[0][(crc ^ *data++) & 255] ^ crc >> 8;
    return ~crc;
}
static void put_little(uint8_t *data, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) data[i] = (uint8_t)(value >> 8 * i);
}
static int64_t floor_div(int64_t a, int64_t b) { int64_t q = a / b; return a % b < 0 ? q - 1 : q; }

/* Lookup of prefix codes by the next 15 bits of the input: symbol << 4 | length, 0 where no code begins so. */
static void code_table(struct job *j, const uint8_t *lengths, int count, uint16_t *table) {
    uint32_t next = 0; memset(table, 0, sizeof(uint16_t) << MAX_LENGTH);
    for (int length = 1; length <= MAX_LENGTH; length++)
        for (int s = 0; s < count; s++) {
            uint32_t span = 1u << (MAX_LENGTH - length);
            if (lengths[s] != length) continue;
            REFUSE(j, next + span > 1u << MAX_LENGTH, "its prefix codes are damaged");
            uint32_t at = 0; /* the first bit of a code is the lowest of what is looked up */
            for (int b = 0; b < MAX_LENGTH; b++) at |= (next >> b & 1) << (MAX_LENGTH - 1 - b);
            for (; at < 1u << MAX_LENGTH; at += 1u << length) table[at] = (uint16_t)(s << 4 | length);
            next += span;
        }
}

struct inflater { struct job *j; const uint8_t *in, *end; uint64_t bits; int held; };
static uint32_t inflate_bits(struct inflater *f, int count) {
    while (f->held < count) {
        REFUSE(f->j, f->in == f->end, "its deflated data end too early"); f->bits |= (uint64_t)*f->in++ << f->held;
        f->held += 8;
    }
    uint32_t value = (uint32_t)(f->bits & (((uint64_t)1 << count) - 1)); f->bits >>= count; f->held -= count;
    return value;
}
static int inflate_symbol(struct inflater *f, const uint16_t *table) {
    while (f->held < MAX_LENGTH && f->in < f->end) { f->bits |= (uint64_t)*f->in++ << f->held; f->held += 8; }
    uint16_t entry = table[f->bits & ((1 << MAX_LENGTH) - 1)]; int length = entry & 15;
    REFUSE(f->j, !length || length > f->held, "its deflated data are damaged"); f->bits >>= length; f->held -= length;
    return entry >> 4;
}
static void read_lengths(struct inflater *f, uint8_t *lengths, int *literals, int *distances, uint16_t *table) {
    static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    uint8_t small[19] = {0};
    *literals = 257 + (int)inflate_bits(f, 5); *distances = 1 + (int)inflate_bits(f, 5);
    int codes = 4 + (int)inflate_bits(f, 4);
    for (int i = 0; i < codes; i++) small[order[i]] = (uint8_t)inflate_bits(f, 3);
    code_table(f->j, small, 19, table);
    for (int i = 0; i < *literals + *distances;) {
        int symbol = inflate_symbol(f, table), times = 1, value = symbol;
        if (symbol == 16) {
            REFUSE(f->j, !i, "its deflated data are damaged"); value = lengths[i - 1];
            times = 3 + (int)inflate_bits(f, 2);
        } else if (symbol > 16) {
            value = 0; times = symbol == 17 ? 3 + (int)inflate_bits(f, 3) : 11 + (int)inflate_bits(f, 7);
        }
        REFUSE(f->j, i + times > *literals + *distances, "its deflated data are damaged");
        while (times--) lengths[i++] = (uint8_t)value;
    }
}

/* Exactly `size` bytes out of a raw deflate stream that takes all of `in`. */
static void inflate_all(struct job *j, const uint8_t *in, size_t packed, uint8_t *out, size_t size) {
    struct inflater f = {j, in, in + packed, 0, 0};
    uint16_t *litlen = SCRATCH(j, 1 << MAX_LENGTH, uint16_t), *dist = SCRATCH(j, 1 << MAX_LENGTH, uint16_t);
    size_t at = 0;
    for (int last = 0, before = 0; !last;) { /* before: what kind of tables there are, for blocks of nothing else */
        uint8_t lengths[320] = {0}; int literals = 288, distances = 30; last = (int)inflate_bits(&f, 1);
        int kind = (int)inflate_bits(&f, 2);
        if (kind == 0) {
            inflate_bits(&f, f.held & 7); uint32_t count = inflate_bits(&f, 16), inverse = inflate_bits(&f, 16);
            REFUSE(j, count != (~inverse & 0xFFFF) || count > size - at, "its deflated data are damaged");
            while (count--) out[at++] = (uint8_t)inflate_bits(&f, 8);
            continue;
        }
        if (kind == 1) {
            for (int i = 0; i < 288; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
            memset(lengths + 288, 5, 30);
        }
        REFUSE(j, kind == 3, "its deflated data are damaged");
        if (kind == 2) read_lengths(&f, lengths, &literals, &distances, litlen);
        if (kind == 2 || before != 1)
            code_table(j, lengths, literals, litlen), code_table(j, lengths + literals, distances, dist);
        before = kind;
        for (int symbol; (symbol = inflate_symbol(&f, litlen)) != 256;) {
            if (symbol < 256) {
                REFUSE(j, at == size, "its deflated data are longer than they should be");
                out[at++] = (uint8_t)symbol; continue;
            }
            int k = symbol - 257, more = k < 8 || k == 28 ? 0 : k / 4 - 1;
            REFUSE(j, k > 28, "its deflated data are damaged");
            uint32_t length = k < 8 ? 3 + (uint32_t)k : k == 28 ? 258 : 3 + ((4u + (k & 3)) << more);
            length += inflate_bits(&f, more); int d = inflate_symbol(&f, dist);
            REFUSE(j, d > 29, "its deflated data are damaged"); more = d < 4 ? 0 : d / 2 - 1;
            uint32_t back = d < 4 ? 1 + (uint32_t)d : 1 + ((2u + (d & 1)) << more); back += inflate_bits(&f, more);
            REFUSE(j, back > at || length > size - at, "its deflated data are damaged");
            for (; length; length--, at++) out[at] = out[at - back];
        }
    }
    REFUSE(j, at != size || f.in - f.held / 8 != f.end, "its deflated data have another length");
}

/* ---- bits of the tables ------------------------------------------------------------------------------------------ */
struct bits { struct job *j; const uint8_t *data; uint64_t at, end; }; /* at, end: in bits */
static uint64_t bits_number(struct bits *b, int width) {
    uint64_t value = 0; REFUSE(b->j, (uint64_t)width > b->end - b->at, "the tables end too early");
    for (; width; width--, b->at++) value = value << 1 | (b->data[b->at >> 3] >> (7 - (b->at & 7)) & 1);
    return value;
}
static uint64_t bits_count(struct bits *b) {
    int zeros = 0;
    while (!bits_number(b, 1)) REFUSE(b->j, ++zeros > 63, "the tables are damaged");
    b->at--; return bits_number(b, zeros + 1) - 1;
}
static void bits_finish(struct bits *b) {
    uint64_t left = b->end - b->at;
    REFUSE(b->j, left >= 8 || bits_number(b, (int)left), "the tables do not end where they should");
}

struct codebook { int low_bits, count; uint64_t *codes; };
static int is_float(int dtype) { return dtype >= EKZ_FLOAT16; }
static int is_signed(int dtype) { return dtype < EKZ_FLOAT16 && dtype & 1; }

static void read_codebook(struct bits *b, int dtype, struct codebook *c) {
    int width = 8 * item_bytes[dtype], length = 0; c->low_bits = (int)bits_number(b, 6); width -= c->low_bits;
    REFUSE(b->j, width < 1, "its codebook is damaged"); c->count = (int)bits_number(b, 12) + 1;
    int trim = (int)bits_number(b, 6); REFUSE(b->j, trim >= width, "its codebook is damaged"); width -= trim;
    uint64_t most = width == 64 ? UINT64_MAX : ((uint64_t)1 << width) - 1;
    c->codes = SCRATCH(b->j, c->count, uint64_t);
    for (int i = 0; i < c->count; i++) {
        if (!i) { c->codes[0] = bits_number(b, width); continue; }
        uint64_t folded = bits_count(b), gap = 0; REFUSE(b->j, folded > 128, "its codebook is damaged");
        length += folded & 1 ? -(int)((folded + 1) / 2) : (int)(folded / 2);
        REFUSE(b->j, length < 0 || length > width, "its codebook is damaged");
        if (length) gap = (uint64_t)1 << (length - 1) | bits_number(b, length - 1);
        REFUSE(b->j, c->codes[i - 1] == most || gap > most - c->codes[i - 1] - 1, "its codebook is damaged");
        c->codes[i] = c->codes[i - 1] + gap + 1;
    }
    uint64_t ends = is_float(dtype) ? ((uint64_t)1 << trim) - 1 : 0, top = (uint64_t)1 << (width - 1);
    for (int i = 0; i < c->count; i++) c->codes[i] = c->codes[i] << trim | (c->codes[i] & top ? 0 : ends);
}

/* The bits of the value that a key stands for; keys sort as the values do. */
static uint64_t unsort(uint64_t key, int dtype) {
    uint64_t top = (uint64_t)1 << (8 * item_bytes[dtype] - 1);
    if (is_float(dtype)) return key & top ? key ^ top : ~key;
    return is_signed(dtype) ? key ^ top : key;
}
static double value_of(uint64_t key, int dtype) {
    uint64_t bits = unsort(key, dtype); int bytes = item_bytes[dtype];
    if (dtype == EKZ_FLOAT64) { double d; memcpy(&d, &bits, 8); return d; }
    if (dtype == EKZ_FLOAT32) { float f; uint32_t low = (uint32_t)bits; memcpy(&f, &low, 4); return f; }
    if (dtype == EKZ_FLOAT16) {
        int exponent = (int)(bits >> 10 & 31), mantissa = (int)(bits & 1023);
        double size = exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24);
        if (exponent == 31) size = mantissa ? NAN : INFINITY;
        return bits >> 15 & 1 ? -size : size;
    }
    int above = 64 - 8 * bytes;
    return ldexp(is_signed(dtype) ? (double)(int64_t)(bits << above) : (double)(bits << above), -above);
}

/* ---- models ------------------------------------------------------------------------------------------------------ */
/* Coefficients by class of taps: rows, near taps, column means, constant. */
struct model {
    int order, stride_bits, zero, mean, share, spread, classes, near[TAP_CLASSES]; float scale;
    uint64_t rows, columns, taps, tap_width; int8_t leaning[TAP_CLASSES][16], size[TAP_CLASSES][16];
};
static int arrange(const struct ekz_tensor *t, struct model *m) {
    int r = t->rank, first = 0, last = r; m->columns = m->taps = m->tap_width = 1;
    m->rows = t->count;
    if (m->order == FLAT) return 1;
    if (r < 2) return 0;
    if (m->order == ROWS_FIRST) m->rows = t->shape[0], m->columns = t->shape[1], first = 2;
    if (m->order == ROWS_THEN_TAPS) m->rows = t->shape[0], m->columns = t->shape[r - 1], first = 1, last = r - 1;
    if (m->order == ROWS_LAST) m->rows = t->shape[r - 1], m->columns = t->shape[r - 2], last = r - 2;
    if (m->order == DEPTHWISE) m->rows = t->shape[r - 1], last = r - 1;
    for (int i = first; i < last; i++) {
        uint64_t width = m->tap_width = t->shape[i];
        m->taps = width && m->taps > MAX_TAPS / width ? MAX_TAPS + 1 : m->taps * width;
    }
    return m->taps <= MAX_TAPS;
}
static void read_model(struct bits *b, const struct ekz_tensor *t, int codes, struct model *m) {
    m->order = (int)bits_number(b, 3); m->stride_bits = (int)bits_number(b, 3); m->zero = (int)bits_number(b, 13) - 1;
    uint32_t scale = (uint32_t)bits_number(b, 32); memcpy(&m->scale, &scale, 4); m->mean = (int)bits_number(b, 13);
    m->share = (int)bits_number(b, 8); m->spread = (int)bits_number(b, 16);
    int sound = m->order <= DEPTHWISE && arrange(t, m) && m->stride_bits <= 6 && m->zero < codes && m->scale > 0 &&
                isfinite(m->scale) && m->mean > 0 && m->mean <= 127 * 64 && m->share > 0 && m->spread > 0 &&
                (m->stride_bits == 0 || (uint64_t)2 << m->stride_bits <= m->rows);
    REFUSE(b->j, !sound, "its model is damaged"); m->classes = m->taps < TAP_CLASSES ? (int)m->taps : TAP_CLASSES;
    for (int c = 0; c < m->classes; c++) {
        m->near[c] = m->taps <= TAP_CLASSES ? c : 6; int given = (int)bits_number(b, 1);
        for (int i = 0; given && i < 2 * m->near[c] + 6; i++) {
            uint64_t low = bits_number(b, 2), folded = bits_count(b);
            REFUSE(b->j, folded > 63, "its model is damaged"); folded = folded << 2 | low;
            REFUSE(b->j, folded > 254, "its model is damaged");
            int value = folded & 1 ? -(int)((folded + 1) / 2) : (int)(folded / 2);
            *(i < m->near[c] + 2 ? m->leaning[c] + i : m->size[c] + i - m->near[c] - 2) = (int8_t)value;
        }
    }
}

/* ---- the range coder --------------------------------------------------------------------------------------------- */
/* raw: words that travelled in the states. */
struct stream {
    struct job *j; const uint8_t *at, *end, *word, *word_end; uint64_t decisions; int open;
    uint32_t state[MAX_LANES], lanes; uint16_t *raw; size_t raw_count;
};
static void open_segment(struct stream *s) {
    if (s->open) return;
    REFUSE(s->j, s->end - s->at < 5, "the stream ends too early");
    uint64_t lane_bits = s->at[0], words = little(s->at + 1, 4);
    REFUSE(s->j, lane_bits > 10, "the stream is damaged"); uint64_t size = 5 + ((uint64_t)4 << lane_bits) + 2 * words;
    REFUSE(s->j, (uint64_t)(s->end - s->at) < size, "the stream ends too early");
    s->lanes = 1u << lane_bits; s->at += 5;
    for (uint32_t i = 0; i < s->lanes; i++, s->at += 4)
        REFUSE(s->j, (s->state[i] = (uint32_t)little(s->at, 4)) < LOW, "a state of the range coder is damaged");
    s->word = s->at; s->at = s->word_end = s->at + 2 * words; s->open = 1;
}
static void close_segment(struct stream *s) {
    open_segment(s);
    for (uint32_t i = 0; i < s->lanes; i++) {
        REFUSE(s->j, s->state[i] >> 16 != 1, "the coded data do not end where they should");
        s->raw[s->raw_count++] = (uint16_t)s->state[i];
    }
    REFUSE(s->j, s->word != s->word_end, "the coded data do not end where they should"); s->open = 0;
    s->decisions = 0;
}
static inline void refill(struct stream *s, uint32_t lane, uint32_t state) {
    if (state < LOW) {
        REFUSE(s->j, s->word == s->word_end, "the coded data end too early");
        state = state << 16 | s->word[0] | (uint32_t)s->word[1] << 8; s->word += 2;
    }
    s->state[lane] = state;
}
static inline int take_flag(struct stream *s, uint32_t lane, uint32_t ones) {
    uint32_t state = s->state[lane], slot = state & (LOW - 1), zeros = LOW - ones; int one = slot >= zeros;
    refill(s, lane, (one ? ones : zeros) * (state >> 16) + slot - (one ? zeros : 0)); return one;
}

/* ends: where the symbols' shares of 4096 end. */
static inline int take_symbol(struct stream *s, uint32_t lane, const uint16_t *ends) {
    uint32_t state = s->state[lane], slot = state & (SYMBOL_TOTAL - 1); int k = 0;
    while (slot >= ends[k]) k++;
    uint32_t start = k ? ends[k - 1] : 0; refill(s, lane, (ends[k] - start) * (state >> 12) + slot - start);
    return k;
}

/* ---- adaptive tables --------------------------------------------------------------------------------------------- */
/* of_codes: bins x longest; first, length: of a bin's codes, the zero's left out. */
struct tables {
    int bins, longest, first[BINS], length[BINS]; uint32_t ones[SCALES * LEANINGS];
    int64_t zeros[SCALES * LEANINGS][2], of_bins[LEANS * SIZES][BINS], *of_codes;
    uint16_t bin_ends[LEANS * SIZES][BINS], *code_ends;
};
static void code_positions(const struct codebook *c, int dtype, float scale, int64_t *where) {
    for (int i = 0; i < c->count; i++) {
        double v = value_of(c->codes[i] << c->low_bits, dtype) * (double)scale;
        if (isnan(v)) v = 0;
        v = v > 127 ? 127 : v < -127 ? -127 : v; where[i] = (int64_t)floor(v * 256 + 0.5);
    }
}
static void first_bins(struct tables *t, const int64_t *where, int count, int spread) {
    static const int spreads[SIZES] = {37, 53, 77, 111}, centres[LEANINGS] = {0, 16, 27, 45};
    for (int context = 0; context < LEANS * SIZES; context++) {
        int lean = context / SIZES - 3;
        int64_t wide = (int64_t)spread * spreads[context % SIZES], bell = wide * 45 / 2048, reached = 0;
        int64_t centre = centres[lean < 0 ? -lean : lean] * wide / 2048;
        if (bell < 1) bell = 1;
        for (int b = 0; b < t->bins; b++) {
            int64_t next = 1 << 16; int last = t->first[b] + t->length[b] - 1;
            if (b < t->bins - 1) {
                int64_t off = where[last] + where[last + 1] - (lean < 0 ? -centre : centre);
                int64_t part = off * off * (1 << 15) / (off * off + bell * bell);
                next = off < 0 ? (1 << 15) - part : (1 << 15) + part;
            }
            t->of_bins[context][b] = 1 + ((next - reached) * (30 * 16) >> 16); reached = next;
        }
    }
    for (int b = 0; b < t->bins; b++) {
        int64_t *row = t->of_codes + (size_t)b * t->longest, total = 0;
        for (int k = 0; k < t->length[b]; k++) {
            int i = t->first[b] + k; int64_t wide = where[i < count - 1 ? i + 1 : i] - where[i ? i - 1 : 0];
            row[k] = wide < 1 ? 1 : wide; total += row[k];
        }
        for (int k = 0; k < t->length[b]; k++) row[k] = 1 + row[k] * t->length[b] * (10 * 16) / total;
    }
}

/* where: positions of all codes; on return those of the codes other than zero, closed up. */
static void start_tables(struct job *j, struct tables *t, int64_t *where, int count, const struct model *m) {
    int codes = count - (m->zero >= 0);
    if (m->zero >= 0) memmove(where + m->zero, where + m->zero + 1, (size_t)(codes - m->zero) * sizeof *where);
    t->bins = codes < BINS ? codes : BINS; t->longest = 1;
    for (int i = 0; i < codes; i++) {
        int b = i * t->bins / codes;
        if (!t->length[b]++) t->first[b] = i;
        if (t->length[b] > t->longest) t->longest = t->length[b];
    }
    t->of_codes = SCRATCH(j, (uint64_t)BINS * t->longest, int64_t);
    t->code_ends = SCRATCH(j, (uint64_t)BINS * t->longest, uint16_t);
    for (int i = 0; i < SCALES * LEANINGS; i++) {
        t->zeros[i][0] = (256 - m->share) * 6 * 16 / 256 + 1; t->zeros[i][1] = m->share * 6 * 16 / 256 + 1;
    }
    first_bins(t, where, codes, m->spread);
}

/* Ends of the symbols' shares of 4096, in proportion to counts. */
static void share_out(const int64_t *counts, int count, uint16_t *ends) {
    int64_t total = 0, sum = 0, freqs[MAX_SYMBOLS]; int best = 0;
    for (int i = 0; i < count; i++) total += counts[i];
    for (int i = 0; i < count; i++) {
        freqs[i] = 1 + counts[i] * (SYMBOL_TOTAL - count) / total; sum += freqs[i];
        if (freqs[i] > freqs[best]) best = i;
    }
    freqs[best] += SYMBOL_TOTAL - sum;
    for (int64_t i = 0, end = 0; i < count; i++) ends[i] = (uint16_t)(end += freqs[i]);
}

/* ---- one tensor -------------------------------------------------------------------------------------------------- */
/* levels: taps x padded rows x columns; sums, sizes: taps x columns, over the `known` rows so far. */
struct walk {
    struct stream *s; const struct model *m; struct tables t; int16_t *levels; int64_t *sums, *sizes;
    uint64_t padded, known; int32_t *predicted, *expected; uint16_t *codes, *bin_of;
    uint8_t *fine, *of_zeros, *of_bins; uint32_t fine_top;
};
static void start_classes(struct job *j, struct walk *w) {
    static const int shares[SCALES - 1] = {56, 64, 74, 84, 97, 111, 128, 147, 169, 194, 223, 256,
                                           294, 338, 388, 446, 512, 588, 676, 776, 891, 1024, 1176};
    int64_t start[SCALES];
    for (int k = 0; k < SCALES - 1; k++) {
        int64_t share = (int64_t)w->m->mean * shares[k] >> 8; start[k] = share < 1 ? 1 : share;
    }
    w->fine_top = (uint32_t)start[SCALES - 2]; w->fine = SCRATCH(j, w->fine_top + 1, uint8_t);
    for (uint32_t x = 0, k = 0; x <= w->fine_top; x++) {
        while (k < SCALES - 1 && start[k] <= x) k++;
        w->fine[x] = (uint8_t)k;
    }
}
static int16_t *row_at(struct walk *w, uint64_t tap, uint64_t row) {
    return w->levels + (tap * w->padded + row) * w->m->columns;
}
static void add_row(struct walk *w, const int16_t *row, int lean, int weight, int32_t *predicted, int32_t *expected) {
    for (uint64_t c = 0; c < w->m->columns; c++) {
        int level = row[c]; predicted[c] += level * lean; expected[c] += (level < 0 ? -level : level) * weight;
    }
}

/* Scores of `count` rows from `first` on, `step` apart, at a tap. */
static void score(struct walk *w, uint64_t first, uint64_t step, uint64_t count, uint64_t distance, uint64_t tap) {
    const struct model *m = w->m; int class = tap < TAP_CLASSES ? (int)tap : TAP_CLASSES - 1, near = m->near[class];
    const int8_t *lean = m->leaning[class], *size = m->size[class];
    uint64_t back[6] = {1, 2, m->tap_width - 1, m->tap_width, m->tap_width + 1, 2 * m->tap_width};
    int64_t rows = w->known ? (int64_t)w->known : 1;
    for (uint64_t c = 0; c < m->columns; c++) {
        int64_t everywhere = 0;
        for (uint64_t t = 0; t < m->taps; t++) everywhere += w->sizes[t * m->columns + c];
        everywhere = 4 * everywhere / (rows * (int64_t)m->taps);
        int64_t mean = floor_div(4 * w->sums[tap * m->columns + c], rows);
        w->predicted[c] = (int32_t)mean * lean[near + 1];
        w->expected[c] = (int32_t)everywhere * size[near + 1] +
                         (int32_t)(4 * w->sizes[tap * m->columns + c] / rows) * size[near + 2] + 16 * size[near + 3];
    }
    for (uint64_t r = count; r--;) { /* the first row, from which the others are copied, comes last */
        int32_t *predicted = w->predicted + r * m->columns, *expected = w->expected + r * m->columns;
        uint64_t row = first + r * step, bytes = m->columns * sizeof(int32_t);
        if (r) memcpy(predicted, w->predicted, bytes), memcpy(expected, w->expected, bytes);
        for (int k = 0; k < near; k++) {
            uint64_t other = m->taps <= TAP_CLASSES ? (uint64_t)k : tap - back[k];
            if (m->taps > TAP_CLASSES && back[k] > tap) continue;
            add_row(w, row_at(w, other, row), lean[k + 1], size[k + 1], predicted, expected);
        }
        if (distance) {
            add_row(w, row_at(w, tap, row - distance), lean[0], size[0], predicted, expected);
            add_row(w, row_at(w, tap, row + distance), lean[0], size[0], predicted, expected);
        }
    }
}
static void find_contexts(struct walk *w, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        int32_t e = w->expected[i] < 1 ? 1 : w->expected[i], p = w->predicted[i], six = 6 * (p < 0 ? -p : p);
        int leans = (six >= e) + (six >= 2 * e) + (six >= 3 * e);
        int fine = w->fine[(uint32_t)e < w->fine_top ? (uint32_t)e : w->fine_top];
        int coarse = (fine >= 9) + (fine >= 12) + (fine >= 15);
        w->of_zeros[i] = (uint8_t)(fine * LEANINGS + leans);
        w->of_bins[i] = (uint8_t)(((p < 0 ? -leans : leans) + 3) * SIZES + coarse);
    }
}

/* Decode one step of `count` elements into w->codes (numbers of codes), and let the tables learn. */
static void take_step(struct walk *w, uint64_t count) {
    struct tables *t = &w->t; struct stream *s = w->s; int zero = w->m->zero; uint64_t full = count, codes = 0;
    if (zero >= 0) {
        open_segment(s); s->decisions += count;
        for (int i = 0; i < SCALES * LEANINGS; i++) {
            int64_t p = (t->zeros[i][1] << 16) / (t->zeros[i][0] + t->zeros[i][1]);
            t->ones[i] = (uint32_t)(p < 32 ? 32 : p > LOW - 32 ? LOW - 32 : p);
        }
        full = 0;
        for (uint64_t i = 0; i < count; i++) {
            int one = take_flag(s, (uint32_t)i & (s->lanes - 1), t->ones[w->of_zeros[i]]);
            w->codes[i] = (uint16_t)one; w->of_bins[full] = w->of_bins[i]; full += (uint64_t)one;
        }
        for (uint64_t i = 0; i < count; i++) t->zeros[w->of_zeros[i]][w->codes[i]] += 16;
    }
    if (full && t->bins * t->longest > 1) {
        open_segment(s); s->decisions += t->longest > 1 ? 2 * full : full;
        for (int c = 0; c < LEANS * SIZES; c++) share_out(t->of_bins[c], t->bins, t->bin_ends[c]);
        for (uint64_t i = 0; i < full; i++)
            w->bin_of[i] = (uint16_t)take_symbol(s, (uint32_t)i & (s->lanes - 1), t->bin_ends[w->of_bins[i]]);
        for (uint64_t i = 0; i < full; i++) t->of_bins[w->of_bins[i]][w->bin_of[i]] += 16;
        if (t->longest > 1)
            for (int b = 0; b < t->bins; b++)
                share_out(t->of_codes + (size_t)b * t->longest, t->length[b], t->code_ends + (size_t)b * t->longest);
        for (uint64_t i = 0; i < full; i++) {
            int b = w->bin_of[i], k = 0;
            if (t->longest > 1)
                k = take_symbol(s, (uint32_t)i & (s->lanes - 1), t->code_ends + (size_t)b * t->longest);
            w->bin_of[i] = (uint16_t)(t->first[b] + k);
            w->predicted[i] = b * t->longest + k; /* free by now */
        }
        for (uint64_t i = 0; i < full; i++) t->of_codes[w->predicted[i]] += 16;
    } else {
        memset(w->bin_of, 0, full * sizeof *w->bin_of);
    }
    for (uint64_t i = 0; i < count; i++) {
        int code = zero < 0 || w->codes[i] ? w->bin_of[codes++] : -1;
        w->codes[i] = (uint16_t)(code < 0 ? zero : zero >= 0 && code >= zero ? code + 1 : code);
    }
}
static void learn_columns(struct walk *w, uint64_t first, uint64_t step, uint64_t count) {
    for (uint64_t tap = 0; tap < w->m->taps; tap++)
        for (uint64_t r = 0; r < count; r++) {
            const int16_t *row = row_at(w, tap, first + r * step);
            int64_t *sums = w->sums + tap * w->m->columns, *sizes = w->sizes + tap * w->m->columns;
            for (uint64_t c = 0; c < w->m->columns; c++) {
                sums[c] += row[c]; sizes[c] += row[c] < 0 ? -row[c] : row[c];
            }
        }
    w->known += count;
}

/* Fills t->data with keys (the low bits still 0), little-endian. */
static void take_tensor(struct stream *s, struct ekz_tensor *t, const struct codebook *c, const struct model *m) {
    struct job *j = s->j; int bytes = item_bytes[t->dtype];
    uint64_t strides[5][3] = {{0, 1, 0}, {1, m->columns * m->taps, m->taps}, {m->columns, m->columns * m->taps, 1},
                              {m->columns * m->rows, 1, m->rows}, {m->rows, 1, 0}}; /* of taps, rows, columns */
    const uint64_t *stride = strides[m->order];
    if (c->count == 1 || !t->count) {
        for (uint64_t i = 0; i < t->count; i++) put_little(t->data + i * bytes, c->codes[0] << c->low_bits, bytes);
        return;
    }
    struct walk *w = SCRATCH(j, 1, struct walk); int64_t *where = SCRATCH(j, c->count, int64_t);
    int16_t *level_of = SCRATCH(j, c->count, int16_t);
    uint64_t longest = m->columns < STEP_ELEMENTS ? STEP_ELEMENTS / m->columns : 1, step = 1u << m->stride_bits;
    uint64_t room = (longest < m->rows ? longest : m->rows) * m->columns; w->s = s; w->m = m;
    w->padded = m->rows + step; code_positions(c, t->dtype, m->scale, where);
    uint8_t *stored = SCRATCH(j, 8 * (uint64_t)c->count, uint8_t); /* the keys as they lie in memory */
    for (int i = 0; i < c->count; i++) {
        level_of[i] = (int16_t)floor_div(where[i] + 128, 256);
        put_little(stored + 8 * i, c->codes[i] << c->low_bits, 8);
    }
    start_tables(j, &w->t, where, c->count, m); start_classes(j, w);
    w->levels = SCRATCH(j, m->taps * w->padded * m->columns, int16_t);
    w->sums = SCRATCH(j, m->taps * m->columns, int64_t); w->sizes = SCRATCH(j, m->taps * m->columns, int64_t);
    w->predicted = SCRATCH(j, room, int32_t); w->expected = SCRATCH(j, room, int32_t);
    w->of_zeros = SCRATCH(j, room, uint8_t); w->of_bins = SCRATCH(j, room, uint8_t);
    w->codes = SCRATCH(j, room, uint16_t); w->bin_of = SCRATCH(j, room, uint16_t);
    for (int k = 0; k <= m->stride_bits; k++) {
        uint64_t distance = k ? step >> k : 0, apart = k ? step >> (k - 1) : step;
        for (uint64_t first = distance; first < m->rows;) {
            uint64_t count = (m->rows - first + apart - 1) / apart;
            if (count > longest) count = longest;
            for (uint64_t tap = 0; tap < m->taps; tap++) {
                score(w, first, apart, count, distance, tap); find_contexts(w, count * m->columns);
                take_step(w, count * m->columns);
                for (uint64_t r = 0; r < count; r++) {
                    int16_t *row = row_at(w, tap, first + r * apart);
                    const uint16_t *codes = w->codes + r * m->columns;
                    uint8_t *out = t->data + (tap * stride[0] + (first + r * apart) * stride[1]) * bytes;
                    for (uint64_t x = 0; x < m->columns; x++) {
                        row[x] = level_of[codes[x]];
                        memcpy(out + x * stride[2] * bytes, stored + 8 * codes[x], bytes == 4 ? 4 : (size_t)bytes);
                    }
                }
            }
            learn_columns(w, first, apart, count); first += count * apart;
            if (s->decisions >= SEGMENT_DECISIONS) close_segment(s);
        }
    }
}

/* ---- Huffman coding ---------------------------------------------------------------------------------------------- */
static void take_huffman(struct job *j, struct ekz_tensor *t, const uint8_t *data) {
    uint64_t head = t->payload >= 4 ? little(data, 4) : 0, pairs = t->count, at = 0;
    int bytes = item_bytes[t->dtype], gap_bits = 0;
    REFUSE(j, t->payload < 4 || head > t->payload - 4, "its Huffman tables end too early");
    struct bits b = {j, data + 4, 0, 8 * head}; struct codebook c; read_codebook(&b, t->dtype, &c);
    int zero = (int)bits_number(&b, 13) - 1;
    REFUSE(j, c.low_bits || zero >= c.count, "its Huffman tables are damaged");
    if (zero >= 0) { gap_bits = (int)bits_number(&b, 4); pairs = bits_number(&b, 32); }
    REFUSE(j, gap_bits > MAX_GAP_BITS || pairs > t->count, "its Huffman tables are damaged");
    uint16_t *numbers[2] = {NULL, NULL}, *table[2];
    int alphabets[2] = {zero >= 0 ? 1 << gap_bits : 0, c.count};
    for (int k = zero < 0; k < 2; k++) {
        uint8_t *lengths = SCRATCH(j, alphabets[k], uint8_t);
        for (int i = 0; i < alphabets[k]; i++) lengths[i] = (uint8_t)bits_number(&b, 4);
        table[k] = SCRATCH(j, 1 << MAX_LENGTH, uint16_t); numbers[k] = SCRATCH(j, pairs, uint16_t);
        code_table(j, lengths, alphabets[k], table[k]);
    }
    bits_finish(&b); struct inflater f = {j, data + 4 + head, data + t->payload, 0, 0};
    for (int k = zero < 0; k < 2; k++)
        for (uint64_t i = 0; i < pairs; i++) numbers[k][i] = (uint16_t)inflate_symbol(&f, table[k]);
    REFUSE(j, f.in != f.end || f.held >= 8 || f.bits, "its Huffman data do not end where they should");
    uint64_t nothing = zero >= 0 ? unsort(c.codes[zero], t->dtype) : 0;
    for (uint64_t i = 0; i < t->count; i++) put_little(t->data + i * bytes, nothing, bytes);
    for (uint64_t i = 0; i < pairs; i++, at++) {
        if (zero >= 0) at += numbers[0][i];
        REFUSE(j, at >= t->count, "a gap leads out of the tensor");
        put_little(t->data + at * bytes, unsort(c.codes[numbers[1][i]], t->dtype), bytes);
    }
}

/* ---- the container ----------------------------------------------------------------------------------------------- */
struct reader { struct job *j; const uint8_t *at, *end; };
static const uint8_t *take_bytes(struct reader *r, uint64_t count) {
    REFUSE(r->j, count > (uint64_t)(r->end - r->at), "the index ends too early"); r->at += count;
    return r->at - count;
}
static uint64_t take_number(struct reader *r) {
    uint64_t value = 0;
    for (int shift = 0; shift < 63; shift += 7) {
        uint8_t byte = *take_bytes(r, 1); value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return value;
    }
    fail(r->j, EKZ_DAMAGED, "the index is damaged"); return 0;
}
static char *take_text(struct reader *r) {
    uint64_t size = take_number(r); const uint8_t *bytes = take_bytes(r, size);
    REFUSE(r->j, memchr(bytes, 0, (size_t)size), "the index is damaged"); /* names end with a 0 here */
    char *text = KEEP(r->j, size + 1, char); memcpy(text, bytes, size); return text;
}
static uint32_t take_count(struct reader *r, uint64_t most) {
    uint64_t count = take_number(r);
    REFUSE(r->j, count > most, "the index has more entries than a container may have"); return (uint32_t)count;
}
static void take_tensor_entry(struct reader *r, struct ekz_tensor *t, uint64_t limit) {
    t->name = take_text(r); const uint8_t *fixed = take_bytes(r, 3);
    t->dtype = fixed[0], t->method = fixed[1], t->rank = fixed[2]; r->j->tensor = t->name;
    REFUSE(r->j, t->dtype > EKZ_FLOAT64 || t->method > ADAPTIVE || t->rank > MAX_RANK, "its entry is damaged");
    uint64_t count = 1; int empty = 0;
    for (int i = 0; i < t->rank; i++) {
        t->shape[i] = take_number(r);
        if (!t->shape[i]) empty = 1;
        else if (count > limit / t->shape[i]) count = limit + 1; /* stays too large */
        else count *= t->shape[i];
    }
    t->crc = (uint32_t)little(take_bytes(r, 4), 4); uint64_t payload = take_number(r);
    REFUSE(r->j, count > limit / item_bytes[t->dtype] || payload > limit, "it cannot be that large");
    t->count = empty ? 0 : count; t->bytes = (size_t)t->count * item_bytes[t->dtype]; t->payload = (size_t)payload;
    r->j->tensor = NULL;
}
static void take_file_entry(struct reader *r, struct ekz_file *f, uint64_t limit) {
    struct ekz *box = r->j->box; f->format = take_text(r); uint64_t size = take_number(r);
    f->crc = (uint32_t)little(take_bytes(r, 4), 4);
    uint64_t packed = take_number(r), skeleton = take_number(r), gaps = 0, filled = 0;
    REFUSE(r->j, size > limit || packed > limit, "the file cannot hold that much");
    f->holes = take_count(r, MAX_TENSORS); f->hole = KEEP(r->j, f->holes, struct ekz_hole);
    f->size = (size_t)size, f->packed = (size_t)packed, f->skeleton = (size_t)skeleton;
    for (uint32_t i = 0; i < f->holes; i++) {
        struct ekz_hole *h = f->hole + i; h->gap = take_number(r); uint64_t tensor = take_number(r);
        h->rank = *take_bytes(r, 1); int seen = 0, sound = tensor < box->tensor_count;
        sound = sound && (!h->rank || h->rank == box->tensors[tensor].rank) && h->gap <= skeleton - gaps;
        REFUSE(r->j, !sound, "a place for a tensor is damaged"); h->tensor = (uint32_t)tensor;
        memcpy(h->axes, take_bytes(r, h->rank), h->rank);
        for (int k = 0; k < h->rank; k++) seen |= h->axes[k] < h->rank ? 1 << h->axes[k] : 1 << 20;
        REFUSE(r->j, seen != (1 << h->rank) - 1, "a place for a tensor is damaged"); gaps += h->gap;
        filled += box->tensors[tensor].bytes; REFUSE(r->j, filled > size, "the parts of a file do not add up");
    }
    REFUSE(r->j, skeleton + filled != size || skeleton > 1032 * packed + 64, "the parts of a file do not add up");
}
static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }
static void refuse_twins(struct job *j) {
    uint32_t count = j->box->tensor_count; char **names = SCRATCH(j, count, char *);
    for (uint32_t i = 0; i < count; i++) names[i] = j->box->tensors[i].name;
    qsort(names, count, sizeof *names, by_name);
    for (uint32_t i = 1; i < count; i++) REFUSE(j, !strcmp(names[i - 1], names[i]), "two tensors bear one name");
}
static void read_index(struct reader *r, uint64_t total, uint64_t *tables, uint64_t *stream) {
    struct ekz *box = r->j->box; uint64_t limit = 1032 * total + (1 << 24), all = 0;
    if (limit > SIZE_MAX / 2) limit = SIZE_MAX / 2; /* where addresses have 32 bits */
    box->metadata = take_text(r); box->graph = take_text(r); *tables = take_number(r); *stream = take_number(r);
    uint32_t count = take_count(r, MAX_TENSORS); box->tensors = KEEP(r->j, count, struct ekz_tensor);
    for (; box->tensor_count < count; box->tensor_count++) {
        take_tensor_entry(r, box->tensors + box->tensor_count, limit); all += box->tensors[box->tensor_count].bytes;
        REFUSE(r->j, all > limit, "the file cannot hold that much");
    }
    refuse_twins(r->j); count = take_count(r, MAX_FILES); box->files = KEEP(r->j, count, struct ekz_file);
    for (; box->file_count < count; box->file_count++) {
        take_file_entry(r, box->files + box->file_count, limit); all += box->files[box->file_count].size;
        REFUSE(r->j, all > limit, "the file cannot hold that much");
    }
    REFUSE(r->j, r->at != r->end, "the index is longer than its content");
}

/* The words that hold the bits below the symbols: those of the states, then those that are left of the stream. */
static uint32_t raw_word(const struct stream *s, uint64_t i) {
    return i < s->raw_count ? s->raw[i] : (uint32_t)little(s->at + 2 * (i - s->raw_count), 2);
}
static void add_lows(struct stream *s, struct ekz_tensor *t, int low_bits, uint64_t *first_word) {
    int bytes = item_bytes[t->dtype]; uint64_t bit = 16 * *first_word;
    for (uint64_t i = 0; i < t->count; i++) {
        uint8_t *at = t->data + i * bytes; uint64_t key = little(at, bytes);
        for (int k = 0; k < low_bits;) {
            int shift = (int)(bit & 15), take = 16 - shift < low_bits - k ? 16 - shift : low_bits - k;
            key |= (uint64_t)(raw_word(s, bit >> 4) >> shift & ((1u << take) - 1)) << k; k += take;
            bit += (uint64_t)take;
        }
        put_little(at, unsort(key, t->dtype), bytes);
    }
    *first_word = (bit + 15) / 16;
}

static void take_adaptive(struct job *j, const uint8_t *tables, const uint8_t *data, uint64_t size) {
    struct ekz *box = j->box; struct bits b = {j, tables, 0, 8 * (uint64_t)(data - tables)};
    struct coded { struct ekz_tensor *t; struct codebook book; struct model model; } *coded, *next;
    coded = next = SCRATCH(j, box->tensor_count, struct coded);
    struct stream *s = SCRATCH(j, 1, struct stream); uint64_t words = 0, first = 0;
    s->j = j, s->at = data, s->end = data + size;
    s->raw = SCRATCH(j, size / 4, uint16_t); /* each lane takes 4 bytes of the stream */
    for (uint32_t i = 0; i < box->tensor_count; i++) {
        struct ekz_tensor *t = box->tensors + i; struct coded *c = next;
        if (t->method != ADAPTIVE) continue;
        next++->t = t; j->tensor = t->name;
        read_codebook(&b, t->dtype, &c->book); read_model(&b, t, c->book.count, &c->model);
        words += (t->count * (uint64_t)c->book.low_bits + 15) / 16;
    }
    j->tensor = NULL; bits_finish(&b);
    for (struct coded *c = coded; c < next; c++) {
        struct ekz_block *before = box->scratch; j->tensor = c->t->name;
        take_tensor(s, c->t, &c->book, &c->model); release_until(&box->scratch, before);
    }
    j->tensor = NULL;
    if (s->decisions) close_segment(s);
    uint64_t left = (uint64_t)(s->end - s->at);
    REFUSE(j, left % 2 || left > 2 * words || s->raw_count + left / 2 < words, "the stream has another length");
    for (uint64_t i = words; i < s->raw_count + left / 2; i++)
        REFUSE(j, raw_word(s, i), "what is left of the stream is not 0");
    for (struct coded *c = coded; c < next; c++) add_lows(s, c->t, c->book.low_bits, &first);
}

static void open_all(struct job *j, const uint8_t *data, size_t size) {
    struct ekz *box = j->box; REFUSE(j, size < HEADER || memcmp(data, "\x89" "EKZ\r\n\x1a\n", 8), "not an .ekz file");
    uint64_t version = little(data + 8, 2), packed = little(data + 12, 4), bytes = little(data + 16, 4), tables, stream;
    if (version > 1) fail(j, EKZ_TOO_NEW, "a newer version of .ekz than this decoder knows");
    REFUSE(j, version < 1 || little(data + 10, 2), "the header is damaged");
    REFUSE(j, little(data + 24, 8) != size, "the file has another length than it says");
    REFUSE(j, packed > size - HEADER || bytes > 1032 * packed + 64 || bytes > MAX_INDEX, "the header is damaged");
    uint8_t *index = SCRATCH(j, bytes, uint8_t); inflate_all(j, data + HEADER, packed, index, bytes);
    REFUSE(j, crc32_of(index, bytes) != little(data + 20, 4), "the index's checksum does not match");
    struct reader r = {j, index, index + bytes}; read_index(&r, size, &tables, &stream);
    release_until(&box->scratch, NULL);
    uint64_t at = HEADER + packed;
    REFUSE(j, tables > size - at || stream > size - at - tables, "the parts do not add up to the file");
    at += tables + stream;
    for (uint32_t i = 0; i < box->tensor_count; i++) {
        struct ekz_tensor *t = box->tensors + i; j->tensor = t->name;
        REFUSE(j, t->payload > size - at, "the parts do not add up to the file");
        t->data = KEEP(j, t->bytes, uint8_t);
        if (t->method == HUFFMAN) take_huffman(j, t, data + at);
        if (t->method == DEFLATE) inflate_all(j, data + at, t->payload, t->data, t->bytes);
        REFUSE(j, t->method == RAW && t->payload != t->bytes, "it has another length than it should");
        if (t->method == RAW) memcpy(t->data, data + at, t->bytes);
        at += t->payload; release_until(&box->scratch, NULL);
    }
    j->tensor = NULL;
    for (uint32_t i = 0; i < box->file_count; i++) {
        REFUSE(j, box->files[i].packed > size - at, "the parts do not add up to the file");
        box->files[i].data = data + at; at += box->files[i].packed;
    }
    REFUSE(j, at != size, "the parts do not add up to the file");
    take_adaptive(j, data + HEADER + packed, data + HEADER + packed + tables, stream);
    for (uint32_t i = 0; i < box->tensor_count; i++) {
        const struct ekz_tensor *t = box->tensors + i; j->tensor = t->name;
        REFUSE(j, crc32_of(t->data, t->bytes) != t->crc, "its checksum does not match");
    }
    j->tensor = NULL;
}

int ekz_open(struct ekz *box, const void *data, size_t size) {
    struct job j; memset(box, 0, sizeof *box); memset(&j, 0, sizeof j); j.box = box;
    if (!setjmp(j.out)) open_all(&j, data, size);
    release_until(&box->scratch, NULL);
    if (box->status) ekz_close(box);
    return box->status;
}

/* Write a tensor with its axes in another order. */
static size_t put_transposed(const struct ekz_tensor *t, const struct ekz_hole *h, uint8_t *out) {
    uint64_t stride[MAX_RANK], at[MAX_RANK] = {0}, step = 1, place = 0; int bytes = item_bytes[t->dtype];
    for (int i = t->rank - 1; i >= 0; i--) stride[i] = step, step *= t->shape[i];
    for (uint64_t i = 0; i < t->count; i++) {
        memcpy(out + i * bytes, t->data + place * bytes, (size_t)bytes);
        for (int k = t->rank - 1; k >= 0; k--) {
            int axis = h->axes[k]; place += stride[axis];
            if (++at[k] < t->shape[axis]) break;
            place -= stride[axis] * t->shape[axis]; at[k] = 0;
        }
    }
    return t->bytes;
}
static void restore_all(struct job *j, uint32_t index, uint8_t *out) {
    REFUSE(j, index >= j->box->file_count, "the container has no such file");
    const struct ekz_file *f = j->box->files + index;
    uint8_t *skeleton = SCRATCH(j, f->skeleton, uint8_t), *at = out; size_t used = 0;
    inflate_all(j, f->data, f->packed, skeleton, f->skeleton);
    for (uint32_t i = 0; i < f->holes; i++) {
        const struct ekz_hole *h = f->hole + i; const struct ekz_tensor *t = j->box->tensors + h->tensor;
        memcpy(at, skeleton + used, (size_t)h->gap); at += h->gap; used += (size_t)h->gap;
        if (h->rank) at += put_transposed(t, h, at);
        else memcpy(at, t->data, t->bytes), at += t->bytes;
    }
    memcpy(at, skeleton + used, f->skeleton - used);
    REFUSE(j, crc32_of(out, f->size) != f->crc, "the file's checksum does not match");
}

int ekz_restore(struct ekz *box, uint32_t index, uint8_t *out) {
    struct job j; memset(&j, 0, sizeof j); j.box = box; box->status = EKZ_OK;
    if (!setjmp(j.out)) restore_all(&j, index, out);
    release_until(&box->scratch, NULL); return box->status;
}

void ekz_close(struct ekz *box) {
    release_until(&box->memory, NULL); box->metadata = box->graph = NULL, box->tensors = NULL, box->files = NULL;
    box->tensor_count = box->file_count = 0;
}
