#pragma once
// Puts this program out of the container's reach (CVE-2019-5736): a container can see it as /proc/<pid>/exe until the
// user's program is executed, or make itself run it (`#!/proc/self/exe`), and could open it for writing afterwards.
//
// For the commands that start a process in a container it is executed anew from a detached read-only mount of itself,
// unless it is on a read-only mount already (the daemon starts it from one). That happens in a constructor, before the
// Swift runtime has set itself up, which would cost as much again as all the rest of the start.
