#include "collector/core/mailbox.h"

#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool weir_mailbox_open(struct weir_mailbox *box) {
    *box = (struct weir_mailbox){.wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
    pthread_mutex_init(&box->lock, NULL);
    box->last = &box->first;
    return box->wake_fd >= 0;
}

void weir_mailbox_own(struct weir_mailbox *box) {
    pthread_mutex_lock(&box->lock);
    box->owner = pthread_self();
    box->owned = true;
    pthread_mutex_unlock(&box->lock);
}

void weir_mailbox_post(struct weir_mailbox *box, struct weir_mail *mail) {
    mail->next = NULL;
    pthread_mutex_lock(&box->lock);
    bool was_empty = box->first == NULL;
    bool own = box->owned && pthread_equal(box->owner, pthread_self());
    *box->last = mail;
    box->last = &mail->next;
    if (own) box->to_self = true;
    pthread_mutex_unlock(&box->lock);
    if (was_empty && !own) {
        uint64_t one = 1;
        ssize_t ignored = write(box->wake_fd, &one, sizeof one);
        (void)ignored;
    }
}

unsigned weir_mailbox_read(struct weir_mailbox *box) {
    unsigned count = 0;
    pthread_mutex_lock(&box->lock);
    struct weir_mail *mail = box->first;
    box->first = NULL;
    box->last = &box->first;
    box->to_self = false;
    pthread_mutex_unlock(&box->lock);
    while (mail != NULL) {
        struct weir_mail *next = mail->next; /* deliver may free the letter */
        mail->deliver(mail);
        mail = next;
        count++;
    }
    return count;
}

bool weir_mailbox_to_self(const struct weir_mailbox *box) {
    return box->to_self;
}

void weir_mailbox_clear_wake(struct weir_mailbox *box) {
    uint64_t count;
    ssize_t ignored = read(box->wake_fd, &count, sizeof count);
    (void)ignored;
}

void weir_mailbox_close(struct weir_mailbox *box) {
    if (box->wake_fd >= 0) close(box->wake_fd);
    box->wake_fd = -1;
    pthread_mutex_destroy(&box->lock);
}
