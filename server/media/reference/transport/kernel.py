"""recvmmsg(2) and sendmmsg(2) through cffi in ABI mode, so that no compiler is needed."""

from __future__ import annotations

from typing import Any

from cffi import FFI

ffi = FFI()
ffi.cdef("""
    struct iovec { void *iov_base; size_t iov_len; };
    struct msghdr {
        void *msg_name; unsigned int msg_namelen;
        struct iovec *msg_iov; size_t msg_iovlen;
        void *msg_control; size_t msg_controllen; int msg_flags;
    };
    struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; };
    int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags, void *timeout);
    int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags);
""")
libc: Any = ffi.dlopen(None)


def address_of(pointer: Any) -> int:
    """A C pointer as a number."""
    return int(ffi.cast("uintptr_t", pointer))


def pointer_to(octets: bytes) -> Any:
    """``unsigned char *`` into ``octets``; good as long as ``octets`` itself is kept."""
    return ffi.from_buffer("unsigned char[]", octets)
