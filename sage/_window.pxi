# The window: which sequence numbers were seen (SESSION-05).
#
# Part of `_core.pyx`, which includes it.

cdef struct Window:
    uint64_t highest
    uint64_t seen[WINDOW_WORDS]  # a bit at seq mod 1,024

cdef enum Verdict:
    FRESH
    SEEN
    TOO_OLD


cdef inline Verdict window_check(const Window *window, uint64_t seq) noexcept nogil:
    if seq > window.highest:
        return FRESH
    if window.highest - seq >= WINDOW_BITS:
        return TOO_OLD
    if window.seen[seq >> 6 & (WINDOW_WORDS - 1)] >> (seq & 63) & 1:
        return SEEN
    return FRESH


cdef inline void window_mark(Window *window, uint64_t seq) noexcept nogil:
    cdef uint64_t skipped
    if seq > window.highest:
        if seq - window.highest >= WINDOW_BITS:
            memset(window.seen, 0, sizeof(window.seen))
        else:
            for skipped in range(window.highest + 1, seq):
                window.seen[skipped >> 6 & (WINDOW_WORDS - 1)] &= ~(
                    <uint64_t>1 << (skipped & 63)
                )
        window.highest = seq
    window.seen[seq >> 6 & (WINDOW_WORDS - 1)] |= <uint64_t>1 << (seq & 63)


cdef int refuse_verdict(Verdict verdict) except -1:
    if verdict == SEEN:
        raise ReplayError("record seen before", code=Code.SESSION_REPLAY)
    raise StaleError("record too old", code=Code.SESSION_WINDOW)


cdef class ReplayWindow:
    """Which of the last 1,024 sequence numbers were seen (SESSION-05)."""

    cdef Window window

    def __init__(self):
        """Start with nothing seen."""
        memset(&self.window, 0, sizeof(Window))

    def check(self, seq):
        """Refuse a sequence number that was seen or is too old; move nothing."""
        cdef Verdict verdict = window_check(&self.window, sequence(seq))
        if verdict != FRESH:
            refuse_verdict(verdict)

    def accept(self, seq):
        """Check a sequence number and mark it as seen."""
        cdef uint64_t number = sequence(seq)
        cdef Verdict verdict = window_check(&self.window, number)
        if verdict != FRESH:
            refuse_verdict(verdict)
        window_mark(&self.window, number)

    def __reduce__(self):
        """Refuse pickling and copying: a copy would take every record twice."""
        raise TypeError("a replay window cannot be pickled or copied")
