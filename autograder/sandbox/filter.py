"""The system calls that student code has no use for, as a seccomp program.

A deny list over what namespaces, capabilities and limits already forbid: less of the kernel can
be reached. Calls that libseccomp does not know yet stay allowed.
"""

import errno
import os
import socket

import pyseccomp as seccomp

_DENIED = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp"),
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "mknod", "mknodat"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr"),
    *("open_by_handle_at", "name_to_handle_at", "fanotify_init", "quotactl", "acct"),
    *("keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "syslog", "lookup_dcookie"),
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module"),
    *("reboot", "swapon", "swapoff", "sethostname", "setdomainname", "iopl", "ioperm"),
    *("settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "vhangup", "personality"),
)
_NEW_NAMESPACES = 0x7E020080  # every CLONE_NEW* flag of clone(2)
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)  # a kernel has some forty more
_TERMINAL_INJECTION = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX


def program() -> bytes:
    """The filter as the kernel takes it: `struct sock_filter` after `struct sock_filter`."""
    rules = seccomp.SyscallFilter(seccomp.ALLOW)
    refuse = seccomp.ERRNO(errno.EPERM)
    for name in _DENIED:
        rules.add_rule(refuse, name)
    # glibc falls back to clone, whose flags a filter can read; those of clone3 it cannot.
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    for bit in range(32):
        if flag := _NEW_NAMESPACES & (1 << bit):
            rules.add_rule(refuse, "clone", seccomp.Arg(0, seccomp.MASKED_EQ, flag, flag))
    for request in _TERMINAL_INJECTION:
        rules.add_rule(refuse, "ioctl", seccomp.Arg(1, seccomp.MASKED_EQ, 0xFFFFFFFF, request))
    for family in set(range(64)) - set(_FAMILIES):
        rules.add_rule(refuse, "socket", seccomp.Arg(0, seccomp.EQ, family))
    descriptor = os.memfd_create("seccomp")
    with os.fdopen(descriptor, "w+b") as file:
        rules.export_bpf(file)
        file.seek(0)
        return file.read()
