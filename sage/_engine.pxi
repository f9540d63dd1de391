# The engine `libcrypto`: the functions of OpenSSL's provider, called through their
# addresses.
#
# Part of `_core.pyx`, which includes it. Providers and their functions are documented
# in provider-cipher(7) and provider-digest(7); EVP, which stands above them, costs a
# fifth of a short record. Every return code is checked. What fails for another reason
# than a forged tag has found no memory; OpenSSL has no other reason once the answers
# were found right, which `_accel` sees to before anything here is used.

cdef extern from *:
    """
    #include <stddef.h>

    /* OSSL_PARAM, as it is since OpenSSL 3.0. */
    typedef struct {
        const char *key;
        unsigned int data_type;
        void *data;
        size_t data_size;
        size_t return_size;
    } sage_param;

    #define SAGE_OCTET_STRING 5
    """
    ctypedef struct sage_param:
        const char *key
        unsigned int data_type
        void *data
        size_t data_size
        size_t return_size

    const unsigned int SAGE_OCTET_STRING

ctypedef void (*ClearErrors)() noexcept nogil
ctypedef void *(*NewContext)(void *provider) noexcept nogil
ctypedef void (*FreeContext)(void *) noexcept nogil
ctypedef int (*CipherInit)(
    void *, const uint8_t *key, size_t, const uint8_t *nonce, size_t, const sage_param *
) noexcept nogil
ctypedef int (*CipherWork)(
    void *, uint8_t *out, size_t *written, size_t room, const uint8_t *data, size_t
) noexcept nogil
ctypedef int (*Final)(void *, uint8_t *out, size_t *written, size_t room) noexcept nogil
ctypedef int (*GetParams)(void *, sage_param *) noexcept nogil
ctypedef int (*DigestInit)(void *, const sage_param *) noexcept nogil
ctypedef int (*DigestUpdate)(void *, const uint8_t *data, size_t) noexcept nogil

cdef struct Cipher:
    void *provider
    NewContext newctx
    FreeContext freectx
    CipherInit encrypt_init
    CipherInit decrypt_init
    CipherWork cipher
    Final final
    GetParams get_ctx_params

cdef struct Libcrypto:
    ClearErrors ERR_clear_error
    Cipher chacha20poly1305
    Cipher aes_256_gcm
    DigestInit hash_init
    DigestUpdate hash_update
    Final hash_final
    void *hashing  # the one context, SHA-256, for whoever holds the GIL

cdef Libcrypto _ossl
cdef bint _libcrypto = False  # whether new keys go to this engine


def load_libcrypto(clear_errors, algorithms):
    """Take the addresses that `_openssl.find_algorithms` has found.

    Raises:
        ConfigError: OpenSSL does not begin a digest.
    """
    _ossl.ERR_clear_error = <ClearErrors>address(clear_errors)
    load_cipher(&_ossl.chacha20poly1305, algorithms["ChaCha20-Poly1305"])
    load_cipher(&_ossl.aes_256_gcm, algorithms["AES-256-GCM"])
    found = algorithms["SHA256"]
    _ossl.hash_init = <DigestInit>address(found["init"])
    _ossl.hash_update = <DigestUpdate>address(found["update"])
    _ossl.hash_final = <Final>address(found["final"])
    # Made once and kept: it lives as long as the process.
    cdef void *hashing = (<NewContext>address(found["newctx"]))(
        <void *><uintptr_t>found["provider"]
    )
    if hashing is NULL or _ossl.hash_init(hashing, NULL) != 1:
        _ossl.ERR_clear_error()
        raise ConfigError("OpenSSL does not begin a digest")
    _ossl.hashing = hashing


cdef int load_cipher(Cipher *cipher, found) except -1:
    cipher.provider = <void *><uintptr_t>found["provider"]
    cipher.newctx = <NewContext>address(found["newctx"])
    cipher.freectx = <FreeContext>address(found["freectx"])
    cipher.encrypt_init = <CipherInit>address(found["encrypt_init"])
    cipher.decrypt_init = <CipherInit>address(found["decrypt_init"])
    cipher.cipher = <CipherWork>address(found["cipher"])
    cipher.final = <Final>address(found["final"])
    cipher.get_ctx_params = <GetParams>address(found["get_ctx_params"])
    return 0


def use_libcrypto(bint yes):
    """Set keys from now on in this engine, or again in `cryptography`.

    Keys that are set stay where they are: records of either open with the other.
    """
    global _libcrypto
    if yes:
        require_libcrypto()
    _libcrypto = yes


cdef int require_libcrypto() except -1:
    if _ossl.hashing is NULL:
        raise UsageError("no libcrypto was loaded")
    return 0


cdef void *address(number) except NULL:
    return <void *><uintptr_t>number


cdef int refuse_memory() except -1:
    _ossl.ERR_clear_error()  # others look at this thread's queue
    raise MemoryError("OpenSSL found no memory")


# --- AEAD -------------------------------------------------------------------------

cdef enum Opened:
    FAILED = -1  # no memory
    FORGED = 0
    GENUINE = 1

cdef enum Fault:
    NO_FAULT
    WRONG_SIZE
    WRONG_NONCE

cdef struct Record:
    const uint8_t *source  # to seal: the plaintext; to open: ciphertext and tag
    uint8_t *target  # to seal: ciphertext and tag; to open: the plaintext
    Py_ssize_t size  # of the plaintext, bytes
    uint64_t seq
    uint8_t nonce[NONCE_BYTES]
    bint chosen  # whether to work on it at all
    Fault fault  # of what is to be opened
    Opened verdict


cdef struct Context:
    const Cipher *cipher
    void *state


@cython.final
@cython.no_gc
cdef class Aead:
    """A key, set in a live context that either seals or opens.

    A context serves one call at a time. Whoever keeps the GIL from the first to the
    last function of OpenSSL's needs nothing else; whoever lets go of it says ``busy``.
    """

    cdef Context context
    cdef object bulk  # the same key in `cryptography`, once there was a use for it
    cdef bint busy

    def __dealloc__(self):
        if self.context.state is not NULL:
            self.context.cipher.freectx(self.context.state)  # wipes the key


cdef Aead new_aead(bint is_aes, bint sealing, const uint8_t *key):
    cdef Aead aead = Aead.__new__(Aead)
    cdef Cipher *cipher = &_ossl.aes_256_gcm if is_aes else &_ossl.chacha20poly1305
    aead.context.cipher = cipher
    aead.context.state = cipher.newctx(cipher.provider)
    cdef CipherInit begin = cipher.encrypt_init if sealing else cipher.decrypt_init
    if aead.context.state is NULL or begin(
        aead.context.state, key, KEY_BYTES, NULL, 0, NULL
    ) != 1:
        refuse_memory()
    return aead


cdef inline void tag_at(sage_param *params, uint8_t *tag) noexcept nogil:
    params[0].key = "tag"
    params[0].data_type = SAGE_OCTET_STRING
    params[0].data = tag
    params[0].data_size = TAG_BYTES
    params[0].return_size = 0
    params[1].key = NULL
    params[1].data_type = 0
    params[1].data = NULL
    params[1].data_size = 0
    params[1].return_size = 0


cdef bint seal_record(
    const Context *context, const Record *record, const uint8_t *aad, size_t aad_bytes
) noexcept nogil:
    """Write ciphertext and tag; return whether that was possible."""
    cdef const Cipher *cipher = context.cipher
    cdef sage_param tag[2]
    cdef uint8_t nothing[TAG_BYTES]
    cdef size_t size = <size_t>record.size
    cdef size_t bound = 0, written = 0, rest = 0
    tag_at(tag, record.target + size)
    return (
        cipher.encrypt_init(
            context.state, NULL, 0, record.nonce, NONCE_BYTES, NULL
        ) == 1
        and cipher.cipher(context.state, NULL, &bound, aad_bytes, aad, aad_bytes) == 1
        and bound == aad_bytes
        and (
            size == 0
            or cipher.cipher(
                context.state, record.target, &written, size, record.source, size
            ) == 1
        )
        and written == size
        and cipher.final(context.state, nothing, &rest, TAG_BYTES) == 1
        and cipher.get_ctx_params(context.state, tag) == 1
    )


cdef Opened open_record(
    const Context *context, const Record *record, const uint8_t *aad, size_t aad_bytes
) noexcept nogil:
    """Write a plaintext, and say whether it may be believed."""
    cdef const Cipher *cipher = context.cipher
    cdef sage_param tag[2]
    cdef uint8_t nothing[TAG_BYTES]
    cdef uint8_t sent[TAG_BYTES]
    cdef size_t size = <size_t>record.size
    cdef size_t bound = 0, written = 0, rest = 0
    memcpy(sent, record.source + size, TAG_BYTES)
    tag_at(tag, sent)
    if (
        cipher.decrypt_init(
            context.state, NULL, 0, record.nonce, NONCE_BYTES, tag
        ) != 1
        or cipher.cipher(context.state, NULL, &bound, aad_bytes, aad, aad_bytes) != 1
        or bound != aad_bytes
        or (
            size != 0
            and cipher.cipher(
                context.state, record.target, &written, size, record.source, size
            ) != 1
        )
        or written != size
    ):
        return FAILED
    if cipher.final(context.state, nothing, &rest, TAG_BYTES) == 1:
        return GENUINE
    _ossl.ERR_clear_error()
    return FORGED


# Python's OpenSSL and `cryptography`'s are two, seldom of one age, and what a
# processor has for AES-GCM in bulk is used by the younger alone. A call of the other's
# costs more, so that only long records gain from it.
cdef Py_ssize_t _bulk_from = UNTRIED  # records of so many bytes go to `cryptography`
cdef double _bulk_share = 0.0  # of the time that it takes here
cdef Py_ssize_t NO_BULK = PY_SSIZE_T_MAX  # no record is as long
cdef double BULK_GAIN = 0.75  # a smaller share pays for the call


def send_bulk_elsewhere(yes, double share=0.0):
    """Say who works on long AES records: `cryptography`, in a share of our time, or we.

    ``None`` lets the next such record find out anew which of them is quicker.
    """
    global _bulk_from, _bulk_share
    _bulk_share = share
    _bulk_from = UNTRIED if yes is None else BULK_MIN_BYTES if yes else NO_BULK


cdef bint bulk_is_elsewhere(Py_ssize_t size, int threads) except? True:
    """Whether `cryptography` is quicker with AES than so many threads are here."""
    if _bulk_from == UNTRIED:
        try_bulk()
    return size >= _bulk_from and threads * _bulk_share < BULK_GAIN


cdef int try_bulk() except -1:
    """Find out from which size on records gain."""
    global _bulk_from, _bulk_share
    cdef double share
    for size in (BULK_MIN_BYTES, 2 * BULK_MIN_BYTES, 8 * BULK_MIN_BYTES):
        share = bulk_trial(size)
        if share < BULK_GAIN:
            _bulk_from, _bulk_share = size, share
            return 0
    _bulk_from = NO_BULK
    return 0


cdef double bulk_trial(Py_ssize_t size) except -1:
    """Let both seal one record a few times; return the other's share of our time."""
    cdef uint8_t key[KEY_BYTES]
    cdef Record record
    cdef double began, here = INFINITY, elsewhere = INFINITY
    memset(key, 0, KEY_BYTES)
    memset(record.nonce, 0, NONCE_BYTES)
    cdef Aead ours = new_aead(True, True, key)
    theirs = AESGCM(bytes(KEY_BYTES))
    cdef bytes plain = bytes(size), nonce = bytes(NONCE_BYTES)
    cdef bytearray sealed = bytearray(size + TAG_BYTES)
    record.source = <const uint8_t *>PyBytes_AS_STRING(plain)
    record.target = <uint8_t *>PyByteArray_AS_STRING(sealed)
    record.size = size
    for _ in range(BULK_TRIALS):
        began = sage_monotonic()
        if not seal_record(&ours.context, &record, record.nonce, NONCE_BYTES):
            refuse_memory()
        here = min(here, sage_monotonic() - began)
        began = sage_monotonic()
        theirs.encrypt_into(nonce, plain, nonce, sealed)
        elsewhere = min(elsewhere, sage_monotonic() - began)
    return elsewhere / here if here > 0 else INFINITY  # a clock too coarse to tell


class LibcryptoAead:
    """An AEAD of this engine with the methods that `cryptography` gives to its own.

    For those who check the engine; sessions do not use it. Its contexts live as long as
    it does, as those of a session do: what is checked is how they are used there.
    """

    def __init__(self, is_aes, key):
        """Set a key of 32 bytes, for each way."""
        require_libcrypto()
        cdef uint8_t copied[KEY_BYTES]
        copy_exactly(copied, KEY_BYTES, key, "key")
        try:
            self._sealer = new_aead(is_aes, True, copied)
            self._opener = new_aead(is_aes, False, copied)
        finally:
            sage_wipe(copied, KEY_BYTES)

    def encrypt(self, nonce, data, aad):
        """Return ciphertext and tag."""
        cdef Record record
        cdef Aead aead = self._sealer
        cdef bytes plain = bytes(data), extra = bytes(aad or b"")
        cdef bytes sealed = PyBytes_FromStringAndSize(NULL, len(plain) + TAG_BYTES)
        copy_nonce(&record, nonce)
        record.source = <const uint8_t *>PyBytes_AS_STRING(plain)
        record.target = <uint8_t *>PyBytes_AS_STRING(sealed)
        record.size = len(plain)
        if not seal_record(
            &aead.context, &record, <const uint8_t *>PyBytes_AS_STRING(extra), len(extra)
        ):
            refuse_memory()
        return sealed

    def decrypt(self, nonce, data, aad):
        """Return the plaintext.

        Raises:
            InvalidTag: it was forged.
        """
        cdef Record record
        cdef Aead aead = self._opener
        cdef bytes sealed = bytes(data), extra = bytes(aad or b"")
        copy_nonce(&record, nonce)
        if len(sealed) < TAG_BYTES:
            raise InvalidTag
        cdef bytes plain = PyBytes_FromStringAndSize(NULL, len(sealed) - TAG_BYTES)
        record.source = <const uint8_t *>PyBytes_AS_STRING(sealed)
        record.target = <uint8_t *>PyBytes_AS_STRING(plain)
        record.size = len(plain)
        cdef Opened verdict = open_record(
            &aead.context, &record, <const uint8_t *>PyBytes_AS_STRING(extra), len(extra)
        )
        if verdict == FAILED:
            refuse_memory()
        if verdict == FORGED:
            raise InvalidTag
        return plain


cdef int copy_nonce(Record *record, nonce) except -1:
    cdef bytes plain = bytes(nonce)
    if len(plain) != NONCE_BYTES:
        raise ValueError("the nonce must be 12 bytes")
    memcpy(record.nonce, PyBytes_AS_STRING(plain), NONCE_BYTES)
    return 0


# --- key derivation; the caller holds the GIL -------------------------------------

cdef inline bint begin_hash() noexcept:
    return _ossl.hash_init(_ossl.hashing, NULL) == 1


cdef inline bint add_to_hash(const uint8_t *data, Py_ssize_t size) noexcept:
    return _ossl.hash_update(_ossl.hashing, data, <size_t>size) == 1


cdef inline bint end_hash(uint8_t *digest) noexcept:
    cdef size_t written = 0
    return (
        _ossl.hash_final(_ossl.hashing, digest, &written, KEY_BYTES) == 1
        and written == KEY_BYTES
    )


cdef bint sha256_into(const uint8_t *data, Py_ssize_t size, uint8_t *digest) noexcept:
    return begin_hash() and add_to_hash(data, size) and end_hash(digest)


cdef struct HmacKey:
    uint8_t inner[HASH_BLOCK_BYTES]
    uint8_t outer[HASH_BLOCK_BYTES]


cdef bint set_hmac_key(HmacKey *key, const uint8_t *secret, Py_ssize_t size) noexcept:
    """Prepare HMAC (RFC 2104); the caller wipes what is prepared.

    HMAC is written as the two digests that it consists of: with OpenSSL's HKDF and HMAC
    nearly all of the time goes to finding the algorithm, and copying a context in which
    the key was absorbed costs more than absorbing it again.
    """
    cdef uint8_t digest[KEY_BYTES]
    cdef bint right = True, long = size > HASH_BLOCK_BYTES
    cdef Py_ssize_t i
    if long:
        right = sha256_into(secret, size, digest)
        secret = digest
        size = KEY_BYTES
    memset(key.inner, 0x36, HASH_BLOCK_BYTES)
    memset(key.outer, 0x5C, HASH_BLOCK_BYTES)
    for i in range(size):
        key.inner[i] ^= secret[i]
        key.outer[i] ^= secret[i]
    if long:
        sage_wipe(digest, KEY_BYTES)
    return right


cdef inline bint start_hmac(const HmacKey *key) noexcept:
    return begin_hash() and add_to_hash(key.inner, HASH_BLOCK_BYTES)


cdef inline bint finish_hmac(const HmacKey *key, uint8_t *tag) noexcept:
    return (
        end_hash(tag)
        and begin_hash()
        and add_to_hash(key.outer, HASH_BLOCK_BYTES)
        and add_to_hash(tag, KEY_BYTES)
        and end_hash(tag)
    )


cdef inline bint forget_hash() noexcept:
    """Begin another digest: the state of the last is its result, perhaps a key."""
    return begin_hash()


cdef bint expand_into(
    const uint8_t *prk,
    const uint8_t *info,
    Py_ssize_t info_bytes,
    uint8_t *out,
    Py_ssize_t size,
) noexcept:
    """Write HKDF-Expand of a 32-byte key (RFC 5869, 2.3), which may lie where it goes."""
    cdef HmacKey key
    cdef uint8_t block[KEY_BYTES]
    cdef uint8_t counter = 0
    cdef Py_ssize_t done = 0, share
    cdef bint right = set_hmac_key(&key, prk, KEY_BYTES)
    while right and done < size:
        counter += 1
        right = (
            start_hmac(&key)
            and (done == 0 or add_to_hash(block, KEY_BYTES))
            and add_to_hash(info, info_bytes)
            and add_to_hash(&counter, 1)
            and finish_hmac(&key, block)
        )
        if right:  # else the key that is there stays there
            share = min(size - done, <Py_ssize_t>KEY_BYTES)
            memcpy(out + done, block, share)
            done += share
    right = forget_hash() and right
    sage_wipe(&key, sizeof(HmacKey))
    sage_wipe(block, KEY_BYTES)
    return right


cdef int fill_from(const uint8_t *prk, bytes info, out) except -1:
    """Fill a writable buffer by HKDF-Expand of a 32-byte key."""
    cdef Py_buffer held
    cdef bint right = True
    borrow(out, 0, &held)
    cdef Py_ssize_t size = held.len
    cdef bint fits = 1 <= size <= EXPAND_MAX_BYTES  # the block counter is a byte
    if fits:
        right = expand_into(
            prk,
            <const uint8_t *>PyBytes_AS_STRING(info),
            PyBytes_GET_SIZE(info),
            <uint8_t *>held.buf,
            size,
        )
    PyBuffer_Release(&held)
    if not fits:
        text = f"HKDF output must be 1..{EXPAND_MAX_BYTES} bytes, not {size}"
        raise UsageError(text)
    if not right:
        refuse_memory()
    return 0


def libcrypto_expand_into(prk, bytes info not None, out):
    """Fill a writable buffer by HKDF-Expand (RFC 5869, 2.3) of a 32-byte key."""
    cdef uint8_t key[KEY_BYTES]
    require_libcrypto()
    try:
        copy_exactly(key, KEY_BYTES, prk, "prk")
        fill_from(key, info, out)
    finally:
        sage_wipe(key, KEY_BYTES)


def libcrypto_hkdf_into(salt, ikm, bytes info not None, out):
    """Fill a writable buffer by HKDF (RFC 5869), whose key in between stays in here."""
    cdef uint8_t prk[KEY_BYTES]
    try:
        hmac_of(salt, ikm, prk)
        fill_from(prk, info, out)
    finally:
        sage_wipe(prk, KEY_BYTES)


def libcrypto_hmac_into(key, data, out):
    """Write HMAC-SHA-256 (RFC 2104) into the first 32 bytes of a writable buffer."""
    cdef uint8_t tag[KEY_BYTES]
    cdef Py_buffer held
    borrow(out, KEY_BYTES, &held)
    try:
        hmac_of(key, data, tag)
        memcpy(held.buf, tag, KEY_BYTES)
    finally:
        PyBuffer_Release(&held)
        sage_wipe(tag, KEY_BYTES)


cdef int hmac_of(key, data, uint8_t *tag) except -1:
    cdef HmacKey pads
    cdef Py_buffer secret, message
    cdef bint right
    require_libcrypto()
    PyObject_GetBuffer(key, &secret, PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(data, &message, PyBUF_SIMPLE)
        right = (
            set_hmac_key(&pads, <const uint8_t *>secret.buf, secret.len)
            and start_hmac(&pads)
            and add_to_hash(<const uint8_t *>message.buf, message.len)
            and finish_hmac(&pads, tag)
        )
        right = forget_hash() and right
        sage_wipe(&pads, sizeof(HmacKey))
        PyBuffer_Release(&message)
    finally:
        PyBuffer_Release(&secret)
    if not right:
        refuse_memory()
    return 0
