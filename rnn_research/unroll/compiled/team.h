/* Threads that compute one call together. They are made for the call and end with it: nothing of them outlives it that a
   fork, a signal or the end of the process could find half done. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>

#define SPINS 1000 /* looks, some 50 microseconds, before a thread that waits sleeps: another process may need the core */

typedef struct Team Team;
typedef void (*Part)(void *, int64_t); /* what each does, given its number */
typedef struct {
    Team *team;
    int64_t number;
    pthread_t thread;
} Member;
struct Team {
    int64_t count; /* of threads, the caller's included */
    int64_t arrived, round;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    Part part;
    void *given;
};

static void turn_over(Team *team) {
    pthread_mutex_lock(&team->lock);
    __atomic_store_n(&team->round, team->round + 1, __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->lock);
}
static void await(Team *team, int64_t round) {
    for (int i = 0; i < SPINS; i++) {
        if (__atomic_load_n(&team->round, __ATOMIC_ACQUIRE) != round) return;
#if defined(__x86_64__)
        __asm__ volatile("pause");
#endif
    }
    pthread_mutex_lock(&team->lock);
    while (__atomic_load_n(&team->round, __ATOMIC_ACQUIRE) == round) pthread_cond_wait(&team->changed, &team->lock);
    pthread_mutex_unlock(&team->lock);
}
/* Nobody goes on before all have come. What was written before is read after, past the caches too: of the processors
   that write so, those of x86, a locked instruction waits for it. */
static void meet(Team *team) {
    if (team->count == 1) return;
    int64_t round = __atomic_load_n(&team->round, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&team->arrived, 1, __ATOMIC_SEQ_CST) < team->count) {
        await(team, round);
        return;
    }
    __atomic_store_n(&team->arrived, 0, __ATOMIC_SEQ_CST);
    turn_over(team);
}

static void *begin(void *member_) {
    Member *member = member_;
    Team *team = member->team;
    await(team, 0);
    if (team->part) team->part(team->given, member->number);
    return NULL;
}
/* As many threads as are wanted, or as the system grants; they wait for `work_together`. No signal is theirs. */
static void gather_team(Team *team, Member *members, int64_t wanted) {
    sigset_t all, before;
    pthread_mutex_init(&team->lock, NULL);
    pthread_cond_init(&team->changed, NULL);
    team->count = 1, team->arrived = team->round = 0;
    if (wanted <= 1) return;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; team->count < wanted; team->count++) {
        Member *member = members + team->count;
        member->team = team, member->number = team->count;
        if (pthread_create(&member->thread, NULL, begin, member)) break;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}
/* Each does its part, the caller that of number 0, and they end. NULL: they end at once. */
static void work_together(Team *team, Member *members, Part part, void *given) {
    team->part = part, team->given = given;
    if (team->count > 1) turn_over(team);
    if (part) part(given, 0);
    for (int64_t i = 1; i < team->count; i++) pthread_join(members[i].thread, NULL);
    pthread_cond_destroy(&team->changed);
    pthread_mutex_destroy(&team->lock);
}
