# X25519 and Ed25519 by libsodium, whose functions are called through their addresses.
#
# Part of `_core.pyx`, which includes it. `_libsodium` finds the functions, and sees to
# their answers before anything here is used. Secrets lie inline in objects that are
# wiped when they go. All of it runs without the GIL. What is signed is memory that nobody
# else can write to: a message that changed between its two readings would give the key
# away. What is verified is read once, in place.

ctypedef int (*Multiply)(
    uint8_t *out, const uint8_t *scalar, const uint8_t *point
) noexcept nogil
ctypedef int (*MultiplyBase)(uint8_t *out, const uint8_t *scalar) noexcept nogil
ctypedef int (*MakeKeys)(
    uint8_t *public, uint8_t *secret, const uint8_t *seed
) noexcept nogil
ctypedef int (*Sign)(
    uint8_t *signature,
    unsigned long long *size,
    const uint8_t *message,
    unsigned long long,
    const uint8_t *secret,
) noexcept nogil
ctypedef int (*Verify)(
    const uint8_t *signature,
    const uint8_t *message,
    unsigned long long,
    const uint8_t *public,
) noexcept nogil
ctypedef void (*FillRandom)(void *out, size_t) noexcept nogil

cdef struct Libsodium:
    Multiply multiply
    MultiplyBase multiply_base
    MakeKeys make_keys
    Sign sign
    Verify verify
    FillRandom fill_random

cdef enum:
    SIGNATURE_BYTES = 64
    SIGNING_KEY_BYTES = 64  # the seed, and the public key behind it

cdef Libsodium _sodium


def load_libsodium(addresses):
    """Take the addresses that `_libsodium.find` has found."""
    _sodium.multiply = <Multiply>address(addresses["crypto_scalarmult_curve25519"])
    _sodium.multiply_base = <MultiplyBase>address(
        addresses["crypto_scalarmult_curve25519_base"]
    )
    _sodium.make_keys = <MakeKeys>address(addresses["crypto_sign_ed25519_seed_keypair"])
    _sodium.sign = <Sign>address(addresses["crypto_sign_ed25519_detached"])
    _sodium.verify = <Verify>address(addresses["crypto_sign_ed25519_verify_detached"])
    _sodium.fill_random = <FillRandom>address(addresses["randombytes_buf"])


cdef int require_libsodium() except -1:
    if _sodium.fill_random is NULL:  # the last that is loaded
        raise UsageError("no libsodium was loaded")
    return 0


cdef int refuse_sodium() except -1:
    raise MemoryError("libsodium failed")  # it has no reason to


@cython.final
@cython.no_gc
cdef class X25519Key:
    """A private key that agrees (RFC 7748); fresh, or made of 32 raw bytes."""

    cdef uint8_t secret[KEY_BYTES]
    cdef uint8_t public[KEY_BYTES]

    def __cinit__(self, private=None):
        require_libsodium()
        if private is None:
            _sodium.fill_random(self.secret, KEY_BYTES)
        else:
            copy_exactly(self.secret, KEY_BYTES, private, "private key")
        cdef int failed
        with nogil:
            failed = _sodium.multiply_base(self.public, self.secret)
        if failed:
            refuse_sodium()

    def __dealloc__(self):
        sage_wipe(self.secret, KEY_BYTES)

    def public_bytes_raw(self):
        """Return the 32-byte public key."""
        return PyBytes_FromStringAndSize(<char *>self.public, KEY_BYTES)

    def private_bytes_raw(self):
        """Return the 32-byte private key."""
        return PyBytes_FromStringAndSize(<char *>self.secret, KEY_BYTES)

    def exchange(self, public):
        """Return the 32-byte shared secret, or ``None`` where there is none.

        There is none with another size than 32 bytes, nor with a point of small order.
        """
        cdef uint8_t theirs[KEY_BYTES]
        cdef int failed
        plain = public if PyBytes_CheckExact(public) else row_of(public, "public key")
        if len(plain) != KEY_BYTES:
            return None
        memcpy(theirs, start_of(plain), KEY_BYTES)
        cdef bytearray shared = PyByteArray_FromStringAndSize(NULL, KEY_BYTES)
        cdef uint8_t *out = <uint8_t *>PyByteArray_AS_STRING(shared)
        with nogil:
            failed = _sodium.multiply(out, self.secret, theirs)
            sage_wipe_stack()  # where the secret was computed, and still lies
        return None if failed else shared

    def __reduce__(self):
        raise TypeError("a private key cannot be pickled or copied")


@cython.final
@cython.no_gc
cdef class Ed25519Signer:
    """A private key that signs (RFC 8032); fresh, or made of a 32-byte seed."""

    cdef uint8_t secret[SIGNING_KEY_BYTES]

    def __cinit__(self, seed=None):
        cdef uint8_t public[KEY_BYTES]
        cdef uint8_t drawn[KEY_BYTES]
        cdef int failed
        require_libsodium()
        try:
            if seed is None:
                _sodium.fill_random(drawn, KEY_BYTES)
            else:
                copy_exactly(drawn, KEY_BYTES, seed, "seed")
            with nogil:
                failed = _sodium.make_keys(public, self.secret, drawn)
        finally:
            sage_wipe(drawn, KEY_BYTES)
        if failed:
            refuse_sodium()

    def __dealloc__(self):
        sage_wipe(self.secret, SIGNING_KEY_BYTES)

    def lend(self, load):
        """Return what ``load`` makes of the seed, which it sees in place and once."""
        view = PyMemoryView_FromMemory(<char *>self.secret, KEY_BYTES, PyBUF_READ)
        try:
            return load(view)
        finally:
            view.release()

    def sign(self, message):
        """Return the 64-byte signature."""
        cdef bytes plain = (
            message if PyBytes_CheckExact(message) else bytes(row_of(message, "message"))
        )
        cdef bytes signature = PyBytes_FromStringAndSize(NULL, SIGNATURE_BYTES)
        cdef uint8_t *out = <uint8_t *>PyBytes_AS_STRING(signature)
        cdef const uint8_t *start = <const uint8_t *>PyBytes_AS_STRING(plain)
        cdef unsigned long long size = <unsigned long long>PyBytes_GET_SIZE(plain)
        cdef int failed
        with nogil:
            failed = _sodium.sign(out, NULL, start, size, self.secret)
            sage_wipe_stack()  # coordinates of the nonce's point say something of it
        if failed:
            refuse_sodium()
        return signature

    def __reduce__(self):
        raise TypeError("a private key cannot be pickled or copied")


def ed25519_verify(public, message, signature):
    """Whether a 64-byte signature of any buffer is right, under a 32-byte key."""
    cdef uint8_t key[KEY_BYTES]
    cdef uint8_t proof[SIGNATURE_BYTES]
    cdef int failed
    require_libsodium()
    copy_exactly(key, KEY_BYTES, public, "public key")
    copy_exactly(proof, SIGNATURE_BYTES, signature, "signature")
    plain = message if PyBytes_CheckExact(message) else row_of(message, "message")
    cdef const uint8_t *start = <const uint8_t *>start_of(plain)
    cdef unsigned long long size = <unsigned long long>len(plain)
    with nogil:
        failed = _sodium.verify(proof, start, size, key)
    return not failed
