# A plan: what a profile means for the kernels, read once, and the bytes that it has
# a record authenticate.
#
# Part of `_core.pyx`, which includes it.

cdef class Plan:
    """A profile's labels and limits, read once."""

    cdef object profile
    cdef object name
    cdef object layout
    cdef bytes session_label
    cdef bytes root_label
    cdef tuple block_labels
    cdef tuple labels
    cdef bytes aad_label
    cdef bytes aead
    cdef object encrypt
    cdef object encrypt_into
    cdef object decrypt
    cdef object decrypt_into
    cdef bint is_aes
    cdef bint is_stream
    cdef bint is_draft1
    cdef uint64_t generation_records
    cdef uint64_t max_records
    cdef uint64_t max_failed_opens
    cdef double max_age_s
    cdef double idle_s
    cdef Py_ssize_t record_max_bytes
    cdef Py_ssize_t plaintext_max_bytes
    cdef Py_ssize_t caller_aad_max_bytes
    cdef Py_ssize_t aad_fixed_bytes
    cdef Py_ssize_t seq_at  # in the authenticated data
    cdef Py_ssize_t label_bytes
    cdef uint8_t label[USUAL_LABEL_BYTES]  # of what is authenticated, if it fits

    def __cinit__(self, profile):
        check_profile(profile)
        self.profile = profile
        self.name = profile.name
        self.layout = profile.layout
        self.session_label = profile.session_label
        self.root_label = profile.root_label
        self.block_labels = profile.block_labels
        self.aad_label = profile.aad_label
        self.generation_records = profile.generation_records
        self.max_records = profile.max_records
        self.max_age_s = profile.max_age_s
        self.idle_s = profile.idle_s
        self.record_max_bytes = profile.record_max_bytes
        self.caller_aad_max_bytes = profile.caller_aad_max_bytes
        self.max_failed_opens = profile.max_failed_opens
        self.aead = profile.aead.encode("ascii")
        self.labels = (*profile.key_labels, profile.shared_key_label)
        self.is_aes = profile.aead == "aes-256-gcm"
        self.is_stream = profile.layout == "stream"
        self.is_draft1 = profile.layout == "draft1"
        self.plaintext_max_bytes = self.record_max_bytes - RECORD_MIN_BYTES
        self.label_bytes = len(self.aad_label)
        memcpy(
            self.label,
            PyBytes_AS_STRING(self.aad_label),
            min(self.label_bytes, <Py_ssize_t>USUAL_LABEL_BYTES),
        )
        self.aad_fixed_bytes = 8 if self.is_draft1 else len(self.aad_label) + 45
        self.seq_at = 0 if self.is_draft1 else len(self.aad_label) + 33
        # The engine's methods, found once: a look-up a record is dearer than the lock.
        engine = AESGCM if self.is_aes else ChaCha20Poly1305
        self.encrypt = engine.encrypt
        self.encrypt_into = engine.encrypt_into
        self.decrypt = engine.decrypt
        self.decrypt_into = engine.decrypt_into


cdef dict _plans = {}
cdef list _first_plans = []  # those of the house; hashing a profile takes long


cdef Plan plan_of(profile):
    cdef Plan plan
    for plan in _first_plans:
        if plan.profile is profile:
            return plan
    try:
        return _plans[profile]
    except (KeyError, TypeError):  # new, or not even hashable
        pass
    if len(_plans) >= PROFILES_READY_MAX:
        _plans.clear()
    try:
        plan = _plans[profile] = Plan(profile)
        if len(_first_plans) < FIRST_PLANS:
            _first_plans.append(plan)
    except (AttributeError, TypeError):
        name = type(profile).__name__
        raise UsageError(f"profile must be a sage Profile, not {name}") from None
    return plan


cdef inline int64_t generation_of(Plan plan, uint64_t seq, int64_t likely) noexcept:
    """Divide only where the likely generation is not the one; there may be none."""
    cdef uint64_t each = plan.generation_records
    if seq - <uint64_t>likely * each < each:
        return likely
    return seq // each


cdef inline bint counts(const char *nonce, uint64_t seq) noexcept nogil:
    """Whether a nonce is 0000 be64(seq)."""
    return load_be64(nonce + 4) == seq and load_be64(nonce) == seq >> 32


cdef inline Py_ssize_t aad_size(Plan plan, bytes aad) noexcept:
    return plan.aad_fixed_bytes + PyBytes_GET_SIZE(aad)


cdef inline void write_aad(
    uint8_t *whole,
    Plan plan,
    const uint8_t *bound,
    uint8_t direction,
    uint64_t seq,
    bytes aad,
) noexcept:
    """Write label | th | direction | be64(seq) | be32(length) | caller's AAD.

    Of draft1: be64(seq) | caller's AAD.
    """
    cdef Py_ssize_t label_bytes = plan.label_bytes
    cdef Py_ssize_t aad_bytes = PyBytes_GET_SIZE(aad)
    cdef char *at = <char *>whole
    if aad_bytes:
        memcpy(at + plan.aad_fixed_bytes, PyBytes_AS_STRING(aad), aad_bytes)
    if plan.is_draft1:
        store_be64(at, seq)
        return
    if label_bytes <= USUAL_LABEL_BYTES:  # what is too much is written over at once
        memcpy(at, plan.label, USUAL_LABEL_BYTES)
    else:
        memcpy(at, PyBytes_AS_STRING(plan.aad_label), label_bytes)
    at += label_bytes
    memcpy(at, bound, KEY_BYTES)
    # The length's be64 first: its upper, empty half lies under the sequence.
    store_be64(at + 37, <uint64_t>aad_bytes)
    store_be64(at + 33, seq)
    at[32] = <char>direction


cdef bytes bind(
    Plan plan, const uint8_t *bound, uint8_t direction, uint64_t seq, bytes aad
):
    cdef bytes whole = PyBytes_FromStringAndSize(NULL, aad_size(plan, aad))
    write_aad(
        <uint8_t *>PyBytes_AS_STRING(whole), plan, bound, direction, seq, aad
    )
    return whole
