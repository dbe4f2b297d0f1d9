/* mailbox.h - letters to one thread from any: settled receipts, configuration snapshots, commands.
 * The list is taken under the lock and worked off outside it; an eventfd wakes the owner. Letters are embedded in what
 * they are about, so that posting never allocates and cannot fail. Bounded by what embeds them. */
#ifndef WEIR_CORE_MAILBOX_H
#define WEIR_CORE_MAILBOX_H
#include <pthread.h>
#include <stdbool.h>

struct weir_mail {
    struct weir_mail *next;
    void (*deliver)(struct weir_mail *mail); /* on the owner's thread; may free what embeds the letter */
};

struct weir_mailbox {
    pthread_mutex_t lock;
    pthread_t owner; /* a letter from the owner to itself wakes nobody: it is read before the loop sleeps */
    bool owned;
    bool to_self;                    /* owner's: it posted to itself since it last read, and nothing will wake it */
    struct weir_mail *first, **last; /* under lock */
    int wake_fd;
};

bool weir_mailbox_open(struct weir_mailbox *box); /* false: no descriptor left */
void weir_mailbox_own(struct weir_mailbox *box);  /* called by the owner thread before it reads */
void weir_mailbox_post(struct weir_mailbox *box, struct weir_mail *mail);
/* Delivers what was posted before the call; what delivering posts waits for the next one, so that letters that beget
 * letters starve nobody. Returns how many. Owner thread. */
unsigned weir_mailbox_read(struct weir_mailbox *box);
bool weir_mailbox_to_self(
    const struct weir_mailbox *box);                    /* must the owner read again before it sleeps? Owner thread */
void weir_mailbox_clear_wake(struct weir_mailbox *box); /* after wake_fd became readable */
void weir_mailbox_close(struct weir_mailbox *box);
#endif
