"""A folder of private keys, each in an encrypted file of its own.

One file is ``<name>.key``, and all of it is replaced in one step::

    sage-key|1 LF
    {"alg":"ed25519","key":"<base64url>","kid":"did:sage:…#sign-1"} LF
    a secret of `encrypt_secret`: both lines again, LF, and the private key

So a listing needs no passphrase. The public line is a label: whoever can write the
folder can change it, and `KeyStore.get` refuses the key then.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..encoding import b64u_decode, b64u_encode, jcs, parse_strict
from ..errors import ConfigError, DecodeError, UsageError
from ..limits import KEY_FILE_MAX_BYTES, SCRYPT_N
from ..types import JsonObject
from .entropy import Entropy
from .files import as_path, exclusive, read_regular, reason
from .jwk import CURVE_OF, make_private, make_public
from .keys import KemKey, PublicKey, SigningKey
from .keystore import decrypt_secret, encrypt_secret, write_private_file

__all__ = ["KeyStore", "StoredKey"]


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What a store says about one key without its passphrase.

    Attributes:
        name: the file's name, without ``.key``.
        public: the key's public half; nobody has verified it yet.
    """

    name: str
    public: PublicKey


class KeyStore:
    """Private keys in a folder that only its owner can enter (POSIX).

    Args:
        folder: an existing folder of mode 0700, not a link.
        entropy: returns that many fresh random bytes, such as `os.urandom`.

    Raises:
        ConfigError: no such folder, a link, or open to its group or others.
    """

    def __init__(self, folder: str | os.PathLike[str], *, entropy: Entropy) -> None:
        self._folder, self._entropy = as_path(folder), entropy
        self._require_private()

    @classmethod
    def create(cls, folder: str | os.PathLike[str], *, entropy: Entropy) -> KeyStore:
        """Open a store, making its folder where there is none.

        Raises:
            ConfigError: it cannot be made, is a link, or is open to others.
        """
        try:
            os.mkdir(as_path(folder), mode=0o700)
        except FileExistsError:
            pass
        except OSError as exc:
            raise ConfigError(f"cannot make {folder}: {reason(exc)}") from exc
        return cls(folder, entropy=entropy)

    def entries(self) -> list[StoredKey]:
        """Return what is there, in the order of names. Needs no passphrase.

        Raises:
            ConfigError: a key's file is a link, open to others, or not such a file.
        """
        return [StoredKey(name, self._read(name)[0]) for name in self._names()]

    def find(self, name: str) -> StoredKey:
        """Return what the store says about one key. Needs no passphrase.

        Raises:
            ConfigError: there is none of that name, or as for `entries`.
            UsageError: not a name.
        """
        return StoredKey(name, self._read(name)[0])

    def get(self, name: str, passphrase: str | bytes) -> SigningKey | KemKey:
        """Decrypt one key.

        Raises:
            ConfigError: a wrong passphrase or a changed file, or as for `find`.
            UsageError: not a name.
        """
        public, label, box = self._read(name)
        try:
            inside = decrypt_secret(box, passphrase)
        except ConfigError as exc:
            raise ConfigError(f"{self._path(name)}: {exc}") from exc
        # The label is outside of the encryption; inside is what was written with it.
        if not inside.startswith(label):
            raise ConfigError(f"{self._path(name)} was changed: it names another key")
        try:
            key = make_private(
                CURVE_OF[public.algorithm], inside[len(label) :], public.kid
            )
        except DecodeError as exc:
            raise ConfigError(f"{self._path(name)} does not hold a key") from exc
        if key.public_key != public.key:
            raise ConfigError(f"{self._path(name)} does not hold the key that it names")
        return key

    def put(
        self,
        name: str,
        key: SigningKey | KemKey,
        passphrase: str | bytes,
        *,
        replace: bool = False,
        scrypt_n: int = SCRYPT_N,
    ) -> None:
        """Encrypt one key into the folder, all of it or nothing.

        Args:
            name: 1 to 64 of ``A-Za-z0-9._-``, not a full stop first.
            key: ours; not wiped.
            passphrase: not empty.
            replace: whether a key of that name may be lost.
            scrypt_n: what a guess costs; see `encrypt_secret`.

        Raises:
            ConfigError: there is a key of that name, the file cannot be written, or
                the passphrase is empty.
            UsageError: not a name, a wiped key, or a cost out of bounds.
        """
        path = self._path(name)
        label = _label(PublicKey(key.kid, key.algorithm, key.public_key))
        box = encrypt_secret(
            label + key.private_bytes(), passphrase, entropy=self._entropy, n=scrypt_n
        )
        self._require_private()
        with self._alone():
            if os.path.lexists(path) and not replace:
                raise ConfigError(f"{path} exists; choose another name, or replace it")
            write_private_file(path, label + box)

    def remove(self, name: str) -> None:
        """Delete one key. What the disk keeps of it is encrypted.

        Raises:
            ConfigError: there is none of that name, or it cannot be deleted.
            UsageError: not a name.
        """
        with self._alone():
            try:
                self._path(name).unlink()
            except OSError as exc:
                raise ConfigError(
                    f"cannot delete {self._path(name)}: {reason(exc)}"
                ) from exc

    def _names(self) -> Iterator[str]:
        self._require_private()
        try:
            found = sorted(os.listdir(self._folder))
        except OSError as exc:
            raise ConfigError(f"cannot read {self._folder}: {reason(exc)}") from exc
        for entry in found:
            name = entry.removesuffix(_SUFFIX)
            # Other files may lie here; the beginnings of ours start with a full stop.
            if name != entry and _NAME.fullmatch(name):
                yield name

    def _read(self, name: str) -> tuple[PublicKey, bytes, bytes]:
        """Return a file's public key, its two lines, and its encrypted part."""
        path = self._path(name)
        try:
            data = read_regular(path, KEY_FILE_MAX_BYTES, private=True, follow=False)
        except OSError as exc:
            raise ConfigError(f"cannot read {path}: {reason(exc)}") from exc
        try:
            return _split(data)
        except (DecodeError, UsageError, KeyError) as exc:
            raise ConfigError(f"{path} is not a key's file, version 1") from exc

    def _path(self, name: object) -> Path:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not 1 to 64 of A-Z a-z 0-9 . _ -")
        return self._folder / f"{name}{_SUFFIX}"

    def _require_private(self) -> None:
        try:
            status = os.lstat(self._folder)
        except OSError as exc:
            raise ConfigError(f"cannot read {self._folder}: {reason(exc)}") from exc
        if not stat.S_ISDIR(status.st_mode):
            raise ConfigError(f"{self._folder} is not a folder of its own")
        if os.name == "posix" and status.st_mode & 0o077:
            raise ConfigError(
                f"{self._folder} is open to other users: chmod 700 {self._folder}"
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Look and write in one step, among processes that use this class (POSIX)."""
        try:
            with exclusive(self._folder):
                yield
        except OSError as exc:
            raise ConfigError(f"cannot write {self._folder}: {reason(exc)}") from exc


_MAGIC: Final = b"sage-key|1\n"
_SUFFIX: Final = ".key"
_NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")


def _label(public: PublicKey) -> bytes:
    members: JsonObject = {
        "kid": public.kid,
        "alg": public.algorithm,
        "key": b64u_encode(public.key),
    }
    return _MAGIC + jcs(members) + b"\n"


def _split(data: bytes) -> tuple[PublicKey, bytes, bytes]:
    magic, line, box = (*data.split(b"\n", 2), b"", b"")[:3]
    members = parse_strict(line)
    if magic + b"\n" != _MAGIC or not isinstance(members, dict):
        raise UsageError("no label")
    kid, alg, key = (members.pop(name) for name in ("kid", "alg", "key"))
    if members or not isinstance(kid, str) or not isinstance(alg, str):
        raise UsageError("not a label")
    public = make_public(CURVE_OF[alg], b64u_decode(str(key)), kid)
    label = _label(public)
    if not data.startswith(label):
        raise UsageError("a label that is not canonical")
    return public, label, box
