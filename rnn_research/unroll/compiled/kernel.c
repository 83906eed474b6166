/* The driver: folds a compiled update along groups of nodes, forwards and backwards.

   Matrices are packed once a call and used at every step; accumulators of a few groups at a time stay in cache, and so
   do their adjoints, which are multiplied into the weights' gradients a block of rows at a time. In a fixed order: the
   same input gives the same bits, and a row's result does not depend on the rows beside it.

   Several threads give the bits of one. Each folds samples of its own, whose rows no other sample's result depends on;
   the blocks of rows that are multiplied into the gradients are those of one thread, in its order, and of the gradients
   each thread has columns of its own. They wait for each other where they change from the one to the other: with one
   thread after every block, with several after as many as RING bytes hold. */
#include "products.h"
#include "structs.h"
#include "team.h"
#include <float.h>
#include <stdlib.h>

#define WINDOW 64 /* rows whose inputs are projected together, at least */
#define FAR (4 << 20) /* bytes of tape above which it is written past the caches, which could not keep it anyway */
#define BLOCK 256 /* rows whose adjoints are multiplied into the gradients together, at least */
#define MOST_THREADS 64 /* of a call: beyond them there is no more to gain */
#ifndef RING /* bytes of such blocks of a program that wait for each other, with several threads */
#define RING (4 << 20)
#endif

/* What this was compiled for. */
const int32_t vector_bits = 8 * BYTES, fuses = FUSED;
const Products *matrix; /* of products.c, a library of its own: who loads both says where it is */

enum { INPUT, CHILD, VALUE };

SIZE_OF(Run) SIZE_OF(Product) SIZE_OF(Bias) SIZE_OF(Program) SIZE_OF(Rows) SIZE_OF(Intervention) SIZE_OF(Fold)

/* Scratch memory: one allocation a call, handed out in aligned pieces. The first pass only measures. */
typedef struct {
    char *base;
    size_t used;
} Arena;
static void *take(Arena *arena, size_t bytes) {
    void *piece = arena->base ? arena->base + arena->used : NULL;
    arena->used += (bytes + 63) / 64 * 64;
    return piece;
}
#define TAKE(arena, type, count) ((type *)take(arena, sizeof(type) * (size_t)(count)))

/* Rows of a source, by pointer. */
static void point(const real **to, const Fold *f, const Program *p, const Product *product, const int32_t *row,
                  const int32_t *child, const real *tape, int64_t rows) {
    int64_t h = f->hidden;
    for (int64_t i = 0; i < rows; i++) switch (product->source) {
            case INPUT: to[i] = at(&f->input, row[i]); break;
            case CHILD: to[i] = f->state[product->part] + (child[i] + product->child) * h; break;
            default: to[i] = tape + (i * p->slots + product->value) * h;
        }
}
/* The rows as one array with a step: as they lie, or copied together. */
static const real *gather(const real *const *rows, int64_t count, int64_t width, real *room, int64_t *step) {
    *step = count > 1 ? rows[1] - rows[0] : width;
    for (int64_t i = 2; i < count; i++)
        if (rows[i] - rows[i - 1] != *step) goto copy;
    if (*step >= width) return rows[0];
copy:
    for (int64_t i = 0; i < count; i++) memcpy(room + i * width, rows[i], (size_t)width * sizeof(real));
    *step = width;
    return room;
}
static int64_t depth_of(const Fold *f, const Product *product) {
    return product->source == INPUT ? f->features : product->blocks * f->hidden;
}

typedef struct {
    real **packed;  /* a product's runs, one after another */
    real *bias;     /* of each accumulator */
    real **sum;     /* backward: the transposed gradient of each product, depth x its columns; NULL: added at once */
    double *dbias;
    real *dacc;     /* backward: blocks of rows, each filled from its end */
    int64_t blocks; /* of them */
} Work;

static int64_t columns(const Product *product) {
    int64_t count = 0;
    for (int32_t r = 0; r < product->runs; r++) count += product->run[r].count;
    return count;
}
/* A narrow source makes narrow gradients: their tiles are full the other way round. */
static int transposed(const Fold *f, const Product *product) {
    return depth_of(f, product) < PANEL || product->column != 1;
}
static int64_t packed_size(const Fold *f, const Product *product, int back) {
    int64_t size = 0, h = f->hidden, depth = depth_of(f, product);
    for (int32_t r = 0; r < product->runs; r++) {
        int64_t n = product->run[r].count * h;
        size += back ? panels(depth) * PANEL * n : panels(n) * PANEL * depth;
    }
    return size;
}
/* Of thread `me` of `count`, its share of the panels. */
static void pack_product(real *to, const Fold *f, const Product *product, int back, int64_t me, int64_t count) {
    int64_t h = f->hidden, depth = depth_of(f, product);
    for (int32_t r = 0; r < product->runs; r++) {
        const Run *run = product->run + r;
        const real *w = f->tensor[product->weight] + product->offset + run->block * h * product->row;
        int64_t n = run->count * h, deep = back ? n : depth, wide = back ? depth : n;
        int64_t row = back ? product->row : product->column, column = back ? product->column : product->row;
        int64_t from = panels(wide) * me / count * PANEL, stop = least(panels(wide) * (me + 1) / count * PANEL, wide);
        if (from < stop) matrix->pack(to + from * deep, w + from * column, deep, stop - from, row, column);
        to += panels(wide) * PANEL * deep;
    }
}

/* acc += source W^T for the rows of a group (or several). */
static void project(const Fold *f, const Product *product, const real *packed, const real *const *rows, int64_t count,
                    real *acc, int64_t accs, real *room) {
    int64_t h = f->hidden, depth = depth_of(f, product), step;
    const real *a = gather(rows, count, depth, room, &step);
    for (int32_t r = 0; r < product->runs; r++) {
        const Run *run = product->run + r;
        int64_t n = run->count * h;
        matrix->multiply(a, step, packed, count, depth, n, acc + run->acc * h, accs * h);
        packed += panels(n) * PANEL * depth;
    }
}
/* to += dacc W, rows of `width` = the product's depth. */
static void unproject(const Fold *f, const Product *product, const real *packed, const real *dacc, int64_t accs,
                      int64_t count, real *to, int64_t step) {
    int64_t h = f->hidden, depth = depth_of(f, product);
    for (int32_t r = 0; r < product->runs; r++) {
        const Run *run = product->run + r;
        int64_t n = run->count * h;
        matrix->multiply(dacc + run->acc * h, accs * h, packed, count, n, depth, to, step);
        packed += panels(depth) * PANEL * n;
    }
}

/* What calls the rest: half of what optimising it takes is not worth waiting for. */
#if !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O1")
#endif
typedef struct {
    int64_t nodes, largest, widest, accs, values; /* over groups; over products; over programs */
    int64_t *first;                               /* the first node of each group */
    int64_t *tape;                                /* where its tape starts */
    int64_t far;
} Extent;
static Extent measure(const Fold *f, Arena *arena) {
    Extent e = {0};
    e.first = TAKE(arena, int64_t, f->groups);
    e.tape = TAKE(arena, int64_t, f->groups);
    for (int64_t p = 0; p < f->programs; p++) {
        e.accs = most(e.accs, f->program[p].accs);
        e.values = most(e.values, f->program[p].values);
        for (int32_t i = 0; i < f->program[p].products; i++)
            e.widest = most(e.widest, depth_of(f, f->program[p].product + i));
    }
    int64_t tape = 0;
    for (int64_t g = 0; g < f->groups; g++) {
        if (arena->base) e.first[g] = e.nodes, e.tape[g] = tape;
        if (f->keep) tape += f->count[g] * f->program[f->kind[g]].slots * f->hidden;
        e.nodes += f->count[g];
        e.largest = most(e.largest, f->count[g]);
    }
    e.far = tape * (int64_t)sizeof(real) > FAR;
    return e;
}

/* Groups that threads go through without waiting for each other, as no row of one thread's depends on another's: each
   has samples of its own; or, of nodes without previous states, which need not lie by sample, any nodes; or one thread
   has them all, where the gradient of a vector is added to row by row. */
enum { BY_SAMPLE, BY_NODE, ONE };
typedef struct {
    int64_t first, stop; /* groups, from first to before stop */
    int64_t blocks;      /* backward: the blocks that are complete after it */
    int64_t way;
    int64_t *bound; /* each thread's first sample, and the end */
} Stretch;
/* Accumulators' adjoints that are multiplied into the gradients together. */
typedef struct {
    int64_t program, rows, first; /* the first group in it */
    const real *dacc;
} Block;
/* What one thread alone writes to. */
typedef struct {
    int64_t *from, *count; /* its rows of each group */
    real *acc, *room, *wide, *tape, *dvalue, *scale;
    const real **rows, **daccs;
} Own;
typedef struct {
    const Fold *f;
    Team *team;
    Extent e;
    Work *work;
    Own *own;
    Stretch *stretch;
    int64_t stretches;
    Block *block; /* backward, in the order in which they are full */
    int64_t blocks;
    int64_t *after, *place; /* of each group: the next one in its block (-1: none), and where its rows begin in `dacc` */
} Job;

/* So that each thread has about the same to multiply. */
static void set_bounds(const Job *job, Stretch *s, int64_t *load) {
    const Fold *f = job->f;
    int64_t threads = job->team->count, total = 0, before = 0, t = 1;
    memset(load, 0, (size_t)f->samples * sizeof(int64_t));
    for (int64_t g = s->first; g < s->stop; g++) {
        int64_t weight = f->program[f->kind[g]].accs;
        const int32_t *sample = f->sample + job->e.first[g];
        for (int64_t i = 0; i < f->count[g]; i++) load[sample[i]] += weight;
        total += weight * f->count[g];
    }
    s->bound[0] = 0, s->bound[threads] = f->samples;
    for (int64_t b = 0; b < f->samples; b++) { /* the sample at whose half a share is full belongs to the next */
        while (t < threads && before + load[b] / 2 >= total * t / threads) s->bound[t++] = b;
        before += load[b];
    }
    while (t < threads) s->bound[t++] = f->samples;
}
/* Where the rows of thread `me` begin in a group. */
static int64_t begins(const Job *job, const Stretch *s, int64_t g, int64_t me) {
    const Fold *f = job->f;
    int64_t first = job->e.first[g], low = 0, high = f->count[g];
    if (s->way == ONE) return me ? high : 0;
    if (s->way == BY_NODE) {
        int64_t start = job->e.first[s->first], nodes = job->e.first[s->stop - 1] + f->count[s->stop - 1] - start;
        return most(0, least(start + nodes * me / job->team->count - first, high));
    }
    while (low < high) { /* within a group, nodes lie by sample */
        int64_t middle = (low + high) / 2;
        if (f->sample[first + middle] < s->bound[me]) low = middle + 1;
        else high = middle;
    }
    return low;
}
static void take_rows(const Job *job, const Stretch *s, const Own *own, int64_t me) {
    for (int64_t g = s->first; g < s->stop; g++) {
        own->from[g] = begins(job, s, g, me);
        own->count[g] = begins(job, s, g, me + 1) - own->from[g];
    }
}
/* How a group is split. */
static int64_t way_of(const Job *job, int64_t g, int back) {
    const Program *p = job->f->program + job->f->kind[g];
    if (job->team->count == 1) return ONE;
    for (int64_t t = 0; back && p->vectors && t < job->f->tensors; t++)
        if (job->f->gradient[t]) return ONE;
    return p->arity ? BY_SAMPLE : BY_NODE;
}

static Group group_of(const Fold *f, const Extent *e, const Own *own, int64_t g) {
    const Program *p = f->program + f->kind[g];
    int64_t from = own->from[g];
    Group group = {0};
    group.hidden = f->hidden, group.rows = own->count[g], group.arity = p->arity;
    group.row = f->row + e->first[g] + from, group.child = f->child + e->first[g] + from;
    group.state = f->state, group.width = p->slots * f->hidden;
    group.tape = own->tape ? own->tape : f->tape + e->tape[g] + from * group.width;
    group.accs = p->accs * f->hidden, group.far = e->far;
    group.vector = (const real *const *)f->tensor, group.dvector = f->gradient;
    group.adjoint = f->adjoint, group.direct = f->direct, group.recurrent = f->recurrent, group.norm = f->norm;
    group.dvalues = p->values * f->hidden;
    return group;
}
/* Memory of each thread's own. */
static Own *take_own(const Job *job, Arena *arena, int back) {
    const Fold *f = job->f;
    const Extent *e = &job->e;
    int64_t rows = back ? most(BLOCK, e->largest) : most(WINDOW, e->largest), threads = job->team->count;
    int64_t tape = 0, left = most(e->widest, e->accs * f->hidden) + TILE;
    for (int64_t p = 0; p < f->programs; p++) tape = most(tape, f->program[p].slots * f->hidden * e->largest);
    Own *own = TAKE(arena, Own, threads);
    for (int64_t t = 0; t < threads; t++) {
        Own one = {0};
        one.from = TAKE(arena, int64_t, f->groups), one.count = TAKE(arena, int64_t, f->groups);
        one.rows = TAKE(arena, const real *, rows);
        if (back) {
            one.room = TAKE(arena, real, rows * (left + PANEL));
            one.wide = TAKE(arena, real, rows * e->widest);
            one.dvalue = TAKE(arena, real, e->largest * e->values * f->hidden);
            one.scale = TAKE(arena, real, e->largest * (f->parts + 1));
            one.daccs = TAKE(arena, const real *, rows);
        } else {
            one.acc = TAKE(arena, real, rows * e->accs * f->hidden);
            one.room = TAKE(arena, real, rows * e->widest);
            if (!f->keep && threads > 1) one.tape = TAKE(arena, real, tape);
        }
        if (arena->base) own[t] = one;
    }
    return own;
}
static void pack_share(const Job *job, int back, int64_t me) {
    const Fold *f = job->f;
    for (int64_t p = 0; p < f->programs; p++)
        for (int32_t i = 0; i < f->program[p].products; i++) {
            const Product *product = f->program[p].product + i;
            real *to = product->same < i ? NULL : job->work[p].packed[i];
            if (to) pack_product(to, f, product, back, me, job->team->count);
        }
}

/* What all threads of a forward pass share. */
static void plan_forward(Job *job, Arena *arena) {
    const Fold *f = job->f;
    int64_t h = f->hidden, threads = job->team->count;
    job->e = measure(f, arena);
    job->own = take_own(job, arena, 0);
    job->stretch = TAKE(arena, Stretch, 2);
    int64_t *bound = TAKE(arena, int64_t, threads + 1), *load = TAKE(arena, int64_t, threads > 1 ? f->samples : 0);
    Work *work = job->work = TAKE(arena, Work, f->programs);
    for (int64_t p = 0; p < f->programs; p++) {
        const Program *program = f->program + p;
        real **packed = TAKE(arena, real *, program->products), *bias = TAKE(arena, real, program->accs * h);
        for (int32_t i = 0; i < program->products; i++) {
            const Product *product = program->product + i;
            real *to = product->same < i ? NULL : TAKE(arena, real, packed_size(f, product, 0));
            if (arena->base) packed[i] = to ? to : packed[product->same];
        }
        if (!arena->base) continue;
        work[p].packed = packed, work[p].bias = bias;
        memset(bias, 0, (size_t)(program->accs * h) * sizeof(real));
        for (int32_t i = 0; i < program->biases; i++) {
            const Bias *b = program->bias + i;
            for (int64_t j = 0; j < h; j++) bias[b->acc * h + j] += f->tensor[b->tensor][b->offset + j];
        }
    }
    if (!arena->base) return;
    job->stretches = 0;
    for (int64_t g = 0; g < f->groups;) { /* nodes without previous states, and the rest */
        Stretch *s = job->stretch + job->stretches++;
        *s = (Stretch){g, g, 0, way_of(job, g, 0), bound};
        while (g < f->groups && way_of(job, g, 0) == s->way) s->stop = ++g;
        if (s->way == BY_SAMPLE) set_bounds(job, s, load);
    }
}
/* The next groups of one kind, as many as fit the window: `count` rows from group g on. Returns the group after. */
static int64_t fill_window(const Job *job, const Own *own, int64_t g, int64_t end, int64_t *count) {
    const Fold *f = job->f;
    int64_t stop = g, window = most(WINDOW, job->e.largest);
    *count = 0;
    do *count += own->count[stop++];
    while (stop < end && f->kind[stop] == f->kind[g] && *count + own->count[stop] <= window);
    return stop;
}
static void forward_part(void *job_, int64_t me) {
    const Job *job = job_;
    const Fold *f = job->f;
    const Extent *e = &job->e;
    const Own *own = job->own + me;
    pack_share(job, 0, me);
    for (const Stretch *s = job->stretch; s < job->stretch + job->stretches; s++) {
        meet(job->team);
        take_rows(job, s, own, me);
        for (int64_t g = s->first, stop, count; g < s->stop; g = stop) {
            const Program *p = f->program + f->kind[g];
            const Work *w = job->work + f->kind[g];
            int64_t accs = p->accs * f->hidden;
            real *acc = own->acc;
            stop = fill_window(job, own, g, s->stop, &count);
            if (!count) continue;
            for (int64_t i = 0; i < count; i++) memcpy(acc + i * accs, w->bias, (size_t)accs * sizeof(real));
            for (int32_t i = 0; i < p->products; i++)
                if (p->product[i].source == INPUT) {
                    for (int64_t k = g, n = 0; k < stop; n += own->count[k++])
                        point(own->rows + n, f, p, p->product + i, f->row + e->first[k] + own->from[k], NULL, NULL,
                              own->count[k]);
                    project(f, p->product + i, w->packed[i], own->rows, count, acc, p->accs, own->room);
                }
            for (int64_t k = g; k < stop; acc += own->count[k++] * accs) {
                Group group = group_of(f, e, own, k);
                group.acc = acc;
                for (int32_t stage = 0; group.rows && stage < p->stages; stage++) {
                    for (int32_t i = 0; i < p->products; i++)
                        if (p->product[i].stage == stage && p->product[i].source != INPUT) {
                            point(own->rows, f, p, p->product + i, group.row, group.child, group.tape, group.rows);
                            project(f, p->product + i, w->packed[i], own->rows, group.rows, acc, p->accs, own->room);
                        }
                    p->forward[stage](&group);
                }
            }
        }
    }
}

#if !defined(__clang__)
#pragma GCC pop_options
#endif

/* Multiply a block of accumulators' adjoints into the gradients, and into the input's: thread `me`, its columns of each
   `hidden`, and its rows of the input. */
static void flush(const Job *job, const Block *b, int64_t me) {
    const Fold *f = job->f;
    const Extent *e = &job->e;
    const Program *p = f->program + b->program;
    const Work *w = job->work + b->program;
    const Own *own = job->own + me;
    int64_t h = f->hidden, count = b->rows, accs = p->accs * h, threads = job->team->count;
    int64_t from_row = count * me / threads, stop_row = count * (me + 1) / threads;
    int64_t some = (h + LANES - 1) / LANES, start = some * me / threads * LANES;
    int64_t own_width = least(some * (me + 1) / threads * LANES, h) - start;
    int64_t vectors = (accs + LANES - 1) / LANES;
    const int whole = threads == 1;
    for (int64_t i = 0; i < count; i++) own->daccs[i] = b->dacc + i * accs;
    for (int32_t i = 0; i < p->products; i++) {
        const Product *product = p->product + i;
        int64_t depth = depth_of(f, product), total = columns(product) * h, column = 0, n = 0;
        if (f->gradient[product->weight] && own_width > 0) {
            for (int64_t g = b->first; g >= 0; n += f->count[g], g = job->after[g])
                point(own->rows + n, f, p, product, f->row + e->first[g], f->child + e->first[g], f->tape + e->tape[g],
                      f->count[g]);
            for (int32_t r = 0; r < product->runs; r++) {
                const Run *run = product->run + r;
                int64_t parts = whole ? 1 : run->count, width = whole ? run->count * h : own_width;
                for (int64_t k = 0; k < parts; k++, column += whole ? width : h) {
                    int64_t from = (run->acc + k) * h + start;
                    real *sum = w->sum[i] ? w->sum[i] + column + start : NULL;
                    real *to = f->gradient[product->weight] + product->offset + ((run->block + k) * h + start) * product->row;
                    if (sum && depth <= FEW)
                        matrix->accumulate_few(own->rows, own->daccs, from, count, depth, width, sum, total);
                    else if (sum)
                        matrix->accumulate(own->rows, 0, own->daccs, from, count, depth, width, sum, total, own->room);
                    else
                        matrix->accumulate(own->daccs, from, own->rows, 0, count, width, depth, to, product->row, own->room);
                }
            }
        }
        if (product->source == INPUT && f->dinput.base && from_row < stop_row) {
            const real *dacc = b->dacc + from_row * accs, *from = own->wide;
            memset(own->wide, 0, (size_t)((stop_row - from_row) * depth) * sizeof(real));
            unproject(f, product, w->packed[i], dacc, p->accs, stop_row - from_row, own->wide, depth);
            for (int64_t g = b->first, n = 0; g >= 0; n += f->count[g], g = job->after[g])
                for (int64_t j = most(0, from_row - n); j < least(f->count[g], stop_row - n); j++, from += depth) {
                    real *to = at(&f->dinput, f->row[e->first[g] + j]);
                    for (int64_t d = 0; d < depth; d++) to[d] += from[d];
                }
        }
    }
    if (p->biases)
        for (int64_t i0 = 0; i0 < count; i0 += 16) /* sums over many rows: short ones in real, long ones in double */
            for (int64_t j0 = vectors * me / threads * LANES; j0 < least(vectors * (me + 1) / threads * LANES, accs); j0 += LANES) {
                vec sum = {0};
                int64_t n = least(LANES, accs - j0);
                for (int64_t i = i0; i < least(i0 + 16, count); i++) sum += load(b->dacc + i * accs + j0, n);
                for (int64_t j = 0; j < n; j++) w->dbias[j0 + j] += sum[j];
            }
}

/* Zero for what is added to: the rows of every child, while they come into the cache. */
static void clear(real *adjoint, const int32_t *child, int64_t count, int64_t arity, int64_t h) {
    for (int64_t i = 0; arity && i < count; i++)
        memset(adjoint + child[i] * h, 0, (size_t)(arity * h) * sizeof(real));
}

/* The norm of a row's a scale + b; without b where it is NULL, without a where its scale is 0. */
INLINE double norm_with(const int with_a, const int with_b, const real *a, real scale, const real *b, int64_t h) {
    Square sum = {0};
    int64_t j = 0;
#define TERM(n) ((with_a ? load(a + j, n) * scale : splat(0)) + (with_b ? load(b + j, n) : splat(0)))
    for (; j + LANES <= h; j += LANES) square(&sum, TERM(LANES));
    if (j < h) square(&sum, TERM(h - j));
#undef TERM
    return norm(&sum);
}
INLINE double norm_of(const real *a, real scale, const real *b, int64_t h) {
    if (!b) return scale == 0 ? 0 : norm_with(1, 0, a, scale, b, h);
    return scale == 0 ? norm_with(0, 1, a, scale, b, h) : norm_with(1, 1, a, scale, b, h);
}
#if !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("O1")
#endif
/* The recurrent part of a row's adjoint: what each part is kept by, to the later state's norm. Into `scale`. */
INLINE void act_on_recurrent(const Fold *f, const Intervention *a, int64_t row, real *scale) {
    double before = 0, kept = 0, factor = 1, later = a->later ? a->later[row] : -1;
    for (int64_t k = 0; k < f->parts; k++) {
        double keep = a->keep[k] ? a->keep[k][row] : 1, part = norm_of(f->adjoint[k] + row * f->hidden, 1, NULL, f->hidden);
        before = joined(before, part);
        if (keep != 0) kept = joined(kept, keep * part);
        scale[k] = (real)keep;
    }
    if (a->exponent != 0 && later >= 0 && isfinite(later) && kept > 0 && isfinite(kept)) {
        factor = a->exponent == 1 ? later / kept : pow(later / kept, a->exponent);
#ifdef DOUBLE
        if (factor > DBL_MAX) factor = DBL_MAX;
#else
        if (factor > FLT_MAX) factor = FLT_MAX;
#endif
        for (int64_t k = 0; k < f->parts; k++) scale[k] *= (real)factor;
    }
    a->recurrent[0][row] = before, a->recurrent[1][row] = kept * factor;
}
/* The adjoint of a row, to the largest norm: what it is multiplied by. Its new norm is for the row's children. */
INLINE double act_on_adjoint(const Fold *f, const Intervention *a, int64_t row, int64_t child, int64_t arity, const real *scale) {
    double whole = 0, factor = 1;
    for (int64_t k = 0; k < f->parts; k++) {
        const real *direct = f->direct[k].base ? at(f->direct + k, row) : NULL;
        whole = joined(whole, norm_of(f->adjoint[k] + row * f->hidden, scale[k], direct, f->hidden));
    }
    if (whole > a->max_norm && isfinite(whole)) factor = a->max_norm / whole;
    if (a->adjoint[0]) a->adjoint[0][row] = whole, a->adjoint[1][row] = whole * factor;
    for (int64_t k = 0; a->later && k < arity; k++) a->later[child + k] = whole * factor;
    return factor;
}
/* What acts on the adjoints of a group's states before its update's derivative. */
static void act(const Fold *f, const Group *g, int64_t arity, real *scale) {
    const Intervention *a = f->intervention;
    for (int64_t i = 0; i < g->rows; i++, scale += f->parts + 1) {
        int64_t row = g->row[i];
        double factor = 1;
        for (int64_t k = 0; k < f->parts; k++) scale[k] = 1;
        if (a->recurrent[0]) act_on_recurrent(f, a, row, scale);
        if (a->adjoint[0] || a->later) factor = act_on_adjoint(f, a, row, g->child[i], arity, scale);
        for (int64_t k = 0; factor != 1 && k < f->parts; k++) scale[k] *= (real)factor;
        scale[f->parts] = (real)factor;
        if (a->factor) a->factor[row] = factor;
    }
}

/* The block of a program that is being filled: its first group, rows, number; and how many full ones wait. */
typedef struct {
    int64_t first, rows, number, waiting;
} Filling;
static int64_t block_rows(const Job *job) { return most(BLOCK, job->e.largest); }
static int64_t row_in_blocks(const Job *job, int64_t p, const Filling *b) {
    return (b->number % job->work[p].blocks + 1) * block_rows(job) - b->rows;
}
static void close_block(Job *job, int64_t p, Filling *b) {
    int64_t width = job->f->program[p].accs * job->f->hidden;
    job->block[job->blocks++] = (Block){p, b->rows, b->first, job->work[p].dacc + row_in_blocks(job, p, b) * width};
    *b = (Filling){-1, 0, b->number + 1, b->waiting + 1};
}
static void end_stretch(Job *job, int64_t first, int flushes, int64_t *bound, int64_t *load, Filling *filling) {
    const Stretch *before = job->stretches ? job->stretch + job->stretches - 1 : NULL;
    Stretch *s = job->stretch + job->stretches;
    *s = (Stretch){first, before ? before->first : job->f->groups, before ? before->blocks : 0, ONE, NULL};
    if (first < s->stop) s->way = way_of(job, first, 1);
    s->bound = bound + job->stretches * (job->team->count + 1);
    if (s->way == BY_SAMPLE) set_bounds(job, s, load);
    if (flushes) s->blocks = job->blocks;
    for (int64_t p = 0; flushes && p < job->f->programs; p++) filling[p].waiting = 0;
    job->stretches++;
}
/* Which blocks there are, and after which groups they are multiplied into the gradients. A block is full where the next
   group of its program does not fit; all that are full, where the next one would take the memory of one of them. */
static void plan_blocks(Job *job, int64_t *bound, int64_t *load, Filling *filling) {
    const Fold *f = job->f;
    job->stretches = job->blocks = 0;
    for (int64_t p = 0; p < f->programs; p++) filling[p] = (Filling){-1, 0, 0, 0};
    for (int64_t g = f->groups - 1; g >= 0; g--) {
        Filling *b = filling + f->kind[g];
        int flushes = 0, turns = g < f->groups - 1 && way_of(job, g, 1) != way_of(job, g + 1, 1);
        if (b->rows + f->count[g] > block_rows(job)) {
            close_block(job, f->kind[g], b);
            flushes = b->waiting == job->work[f->kind[g]].blocks;
        }
        if (flushes || turns) end_stretch(job, g + 1, flushes, bound, load, filling);
        b->rows += f->count[g];
        job->after[g] = b->first, b->first = g;
        job->place[g] = row_in_blocks(job, f->kind[g], b);
    }
    for (int64_t p = 0; p < f->programs; p++)
        if (filling[p].rows) close_block(job, p, filling + p);
    end_stretch(job, 0, 1, bound, load, filling);
}
static void plan_backward(Job *job, Arena *arena) {
    const Fold *f = job->f;
    job->e = measure(f, arena);
    int64_t h = f->hidden, rows = block_rows(job), threads = job->team->count;
    job->own = take_own(job, arena, 1);
    Work *work = job->work = TAKE(arena, Work, f->programs);
    for (int64_t p = 0; p < f->programs; p++) {
        const Program *program = f->program + p;
        int64_t bytes = rows * program->accs * h * (int64_t)sizeof(real);
        Work w = {0};
        w.blocks = 1;
        if (threads > 1) w.blocks = least(most(2, RING / most(1, bytes)), job->e.nodes / rows + 2);
        w.packed = TAKE(arena, real *, program->products);
        w.sum = TAKE(arena, real *, program->products);
        w.dbias = TAKE(arena, double, program->accs * h);
        w.dacc = TAKE(arena, real, w.blocks * rows * program->accs * h);
        for (int32_t i = 0; i < program->products; i++) {
            const Product *product = program->product + i;
            if (product->same < i) {
                if (arena->base) w.packed[i] = w.packed[product->same], w.sum[i] = w.sum[product->same];
                continue;
            }
            real *to = product->source == INPUT && !f->dinput.base ? NULL : TAKE(arena, real, packed_size(f, product, 1));
            int apart = f->gradient[product->weight] && transposed(f, product);
            real *sum = apart ? TAKE(arena, real, depth_of(f, product) * columns(product) * h) : NULL;
            if (arena->base) w.packed[i] = to, w.sum[i] = sum;
        }
        if (!arena->base) continue;
        memset(w.dbias, 0, (size_t)(program->accs * h) * sizeof(double));
        work[p] = w;
    }
    job->stretch = TAKE(arena, Stretch, f->groups + 1);
    job->block = TAKE(arena, Block, f->groups + f->programs);
    job->after = TAKE(arena, int64_t, f->groups), job->place = TAKE(arena, int64_t, f->groups);
    Filling *filling = TAKE(arena, Filling, f->programs);
    int64_t *bound = TAKE(arena, int64_t, threads > 1 ? (f->groups + 1) * (threads + 1) : 0);
    int64_t *load = TAKE(arena, int64_t, threads > 1 ? f->samples : 0);
    if (arena->base) plan_blocks(job, bound, load, filling);
}
/* The adjoints of a thread's rows of a group: of its states, and then of what they were computed from. */
static void group_backward(const Job *job, const Own *own, int64_t g, int acts) {
    const Fold *f = job->f;
    const Program *p = f->program + f->kind[g];
    const Work *w = job->work + f->kind[g];
    Group group = group_of(f, &job->e, own, g);
    int64_t h = f->hidden;
    if (!group.rows) return;
    group.acc = w->dacc + (job->place[g] + own->from[g]) * group.accs;
    group.dvalue = own->dvalue;
    if (f->intervention) {
        if (acts) act(f, &group, p->arity, own->scale);
        group.scale = own->scale, group.limit = (real)f->intervention->max_value;
        group.clamped = f->intervention->preactivation[0] ? f->intervention->preactivation : NULL;
    }
    for (int64_t part = 0; part < f->parts; part++) clear(f->adjoint[part], group.child, group.rows, p->arity, h);
    memset(own->dvalue, 0, (size_t)(group.rows * group.dvalues) * sizeof(real));
    for (int32_t stage = p->stages - 1; stage >= 0; stage--) {
        p->backward[stage](&group);
        for (int32_t i = 0; i < p->products; i++) {
            const Product *product = p->product + i;
            if (product->stage != stage || product->source == INPUT) continue;
            if (product->source == VALUE) {
                /* values are numbered as the tape's first slots */
                unproject(f, product, w->packed[i], group.acc, p->accs, group.rows, own->dvalue + product->value * h,
                          group.dvalues);
                continue;
            }
            real *const to = f->adjoint[product->part] + product->child * h;
            int64_t depth = product->blocks * h, step = group.rows > 1 ? group.child[1] - group.child[0] : product->blocks;
            for (int64_t r = 2; step > 0 && r < group.rows; r++)
                if (group.child[r] - group.child[r - 1] != step) step = 0;
            if (step >= product->blocks) {
                unproject(f, product, w->packed[i], group.acc, p->accs, group.rows, to + group.child[0] * h, step * h);
                continue;
            }
            /* there and back, so that a row's sums are rounded as they are where the rows are evenly spaced */
            size_t size = (size_t)depth * sizeof(real);
            for (int64_t r = 0; r < group.rows; r++) memcpy(own->wide + r * depth, to + group.child[r] * h, size);
            unproject(f, product, w->packed[i], group.acc, p->accs, group.rows, own->wide, depth);
            for (int64_t r = 0; r < group.rows; r++) memcpy(to + group.child[r] * h, own->wide + r * depth, size);
        }
    }
}
/* Of the gradients that are added up transposed, a thread's columns of each `hidden`; they are 0 first, added last. */
static void own_sums(const Job *job, int64_t me, int last) {
    const Fold *f = job->f;
    int64_t h = f->hidden, some = (h + LANES - 1) / LANES, threads = job->team->count;
    int64_t start = some * me / threads * LANES, stop = least(some * (me + 1) / threads * LANES, h);
    for (int64_t k = 0; k < f->programs; k++)
        for (int32_t i = 0; i < f->program[k].products; i++) {
            const Product *product = f->program[k].product + i;
            int64_t depth = depth_of(f, product), total = columns(product) * h, column = 0;
            real *to = f->gradient[product->weight], *sum = job->work[k].sum[i];
            if (!sum || product->same < i || start >= stop) continue;
            for (int32_t r = 0; r < product->runs; r++)
                for (int64_t b = 0; b < product->run[r].count; b++, column += h) {
                    real *first = to + product->offset + (product->run[r].block + b) * h * product->row;
                    for (int64_t d = 0; !last && d < depth; d++)
                        memset(sum + d * total + column + start, 0, (size_t)(stop - start) * sizeof(real));
                    for (int64_t n0 = start; last && n0 < stop; n0 += 16)
                        for (int64_t d = 0; d < depth; d++)
                            for (int64_t n = n0; n < least(n0 + 16, stop); n++)
                                first[n * product->row + d * product->column] += sum[d * total + column + n];
                }
        }
}
static void backward_part(void *job_, int64_t me) {
    const Job *job = job_;
    const Fold *f = job->f;
    const Own *own = job->own + me;
    const int acts = f->intervention && (f->intervention->recurrent[0] || f->intervention->adjoint[0]);
    int64_t flushed = 0;
    pack_share(job, 1, me);
    own_sums(job, me, 0);
    for (int64_t i = 0; i < job->e.largest * (f->parts + 1); i++) own->scale[i] = 1;
    for (const Stretch *s = job->stretch; s < job->stretch + job->stretches; s++) {
        meet(job->team);
        take_rows(job, s, own, me);
        for (int64_t g = s->stop - 1; g >= s->first; g--) group_backward(job, own, g, acts);
        if (flushed < s->blocks) meet(job->team);
        for (; flushed < s->blocks; flushed++) flush(job, job->block + flushed, me);
    }
    own_sums(job, me, 1);
    meet(job->team);
    for (int64_t k = 0; !me && k < f->programs; k++)
        for (int32_t i = 0; i < f->program[k].biases; i++) {
            const Bias *b = f->program[k].bias + i;
            real *to = f->gradient[b->tensor];
            for (int64_t j = 0; to && j < f->hidden; j++)
                to[b->offset + j] += (real)job->work[k].dbias[b->acc * f->hidden + j];
        }
}

static int within_arena(const Fold *f, void (*plan)(Job *, Arena *), Part part) {
    Arena arena = {0};
    Team team;
    int64_t wanted = most(1, least(f->threads, MOST_THREADS));
    Member members[MOST_THREADS];
    gather_team(&team, members, wanted); /* before the plan, which depends on how many there are */
    Job job = {.f = f, .team = &team};
    plan(&job, &arena);
    arena.base = aligned_alloc(64, arena.used + 64);
    arena.used = 0;
    if (arena.base) plan(&job, &arena);
    work_together(&team, members, arena.base ? part : NULL, &job);
    int failed = !arena.base;
    free(arena.base);
    return failed;
}
/* The states from the inputs; 1 where there is no memory. */
int fold_forward(const Fold *f) { return within_arena(f, plan_forward, forward_part); }
/* The adjoints and gradients from the states, the tape and `direct`. Adds to `gradient` and `dinput`,
   which must be 0, and to `adjoint` at the last nodes. Where something acts, the norms of what is clamped must be 0, and
   the later norms below 0. */
int fold_backward(const Fold *f) { return within_arena(f, plan_backward, backward_part); }
