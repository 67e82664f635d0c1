#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

// Names the calling thread, in 15 bytes. prctl(2) itself is variadic, which Swift can't call.
static inline void netfilter_set_task_name(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
