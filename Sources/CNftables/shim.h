#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <nftables/libnftables.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>

// The calling thread's name, 16 bytes with the zero. prctl(2) itself is variadic, which Swift can't call.
static inline void nftables_get_task_name(char *name) { prctl(PR_GET_NAME, name, 0, 0, 0); }

static inline void nftables_set_task_name(const char *name) { prctl(PR_SET_NAME, name, 0, 0, 0); }
