"""``sage key``: single keys in a store, to and from other programs; rotation."""

from __future__ import annotations

import json
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from ..errors import ConfigError, DecodeError, UsageError
from ..identity import (
    ALGORITHMS,
    KEM_ALGORITHM,
    KemKey,
    KeyStore,
    PublicKey,
    SigningKey,
    StoredKey,
    decode_private_jwk,
    decode_private_pem,
    encode_private_jwk,
    encode_private_pem,
    encode_public_jwk,
    encode_public_pem,
    ethereum_address,
    jwk_thumbprint,
    key_id,
    pem_is_encrypted,
    read_private_file,
    write_private_file,
)
from ..limits import SCRYPT_N
from .key_rotation import revoke, rotate
from .options import PassphraseFile, read_passphrase

__all__ = ["key"]

key = typer.Typer(
    no_args_is_help=True, help="Keep, exchange, rotate and revoke single keys."
)


class Format(StrEnum):
    """The forms that other programs read."""

    PEM = "pem"
    JWK = "jwk"


Store: TypeAlias = Annotated[
    Path, typer.Argument(metavar="STORE", help="A folder of keys, mode 0700.")
]
Name: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="The key's name in the store.")
]
Kid: TypeAlias = Annotated[
    str, typer.Argument(metavar="KEYURL", help="did:sage:web:<domain>:<agent>#<key>")
]
Cost: TypeAlias = Annotated[
    int, typer.Option(help="Advanced: see `sage agent new`.", hidden=True)
]
OtherPassphraseFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The same for the passphrase of the PEM file."),
]


@key.command()
def new(
    store: Store,
    name: Name,
    kid: Kid,
    algorithm: Annotated[
        str, typer.Option(help=f"{', '.join(sorted(ALGORITHMS))}, or {KEM_ALGORITHM}.")
    ] = "ed25519",
    passphrase_file: PassphraseFile = None,
    scrypt_n: Cost = SCRYPT_N,
) -> None:
    """Make a new key in STORE, which is made where there is none."""
    made: SigningKey | KemKey
    if algorithm == KEM_ALGORITHM:
        made = KemKey.generate(kid)
    else:
        made = SigningKey.generate(kid, algorithm)
    _put(store, name, made, passphrase_file, scrypt_n)


@key.command(name="list")
def list_(store: Store) -> None:
    """List the keys in STORE. Needs no passphrase."""
    for entry in _open(store).entries():
        _print_entry(entry)


@key.command()
def show(store: Store, name: Name) -> None:
    """Show the public half of a key. Needs no passphrase."""
    public = _open(store).find(name).public
    print(f"name        {name}")
    print(f"url         {public.kid}")
    print(f"algorithm   {public.algorithm}")
    print(f"key id      {key_id(public.key)}")
    print(f"thumbprint  {jwk_thumbprint(public)}")
    if public.algorithm == "sage-secp256k1-keccak256":
        print(f"address     {ethereum_address(public.key)}")


@key.command(name="import")
def import_(
    store: Store,
    name: Name,
    kid: Kid,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A private key as PEM (PKCS#8) or JWK, mode 0600."
        ),
    ],
    passphrase_file: PassphraseFile = None,
    pem_passphrase_file: OtherPassphraseFile = None,
    scrypt_n: Cost = SCRYPT_N,
) -> None:
    """Take a private key of another program into STORE. FILE stays as it is."""
    data = read_private_file(file)
    try:
        if data.lstrip().startswith(b"{"):
            taken = decode_private_jwk(data, kid)
        else:
            secret = None
            if pem_is_encrypted(data):
                prompt = "Passphrase of the PEM file"
                secret = read_passphrase(pem_passphrase_file, prompt=prompt)
            taken = decode_private_pem(data, kid, passphrase=secret)
    except DecodeError as exc:
        raise ConfigError(f"{file}: {exc}") from exc
    _put(store, name, taken, passphrase_file, scrypt_n)


@key.command()
def export(
    store: Store,
    name: Name,
    form: Annotated[
        Format, typer.Option("--format", help="What the other program reads.")
    ] = Format.PEM,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Where to, mode 0600; `-` is standard output, which is where a public"
            " key goes by itself.",
        ),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="The private key. Needs --out.")
    ] = False,
    plain: Annotated[
        bool,
        typer.Option("--plain", help="Not encrypted, which a private JWK always is."),
    ] = False,
    passphrase_file: PassphraseFile = None,
    pem_passphrase_file: OtherPassphraseFile = None,
) -> None:
    """Give the public half of a key, or with --private all of it, to another program.

    A private key leaves encrypted, with a passphrase of its own, unless --plain.
    """
    stored = _open(store)
    if not private:
        _write(_encode_public(stored.find(name).public, form), out or Path("-"))
        return
    if out is None:
        raise UsageError("--private needs --out FILE; `-` shows it to whoever looks on")
    if form is Format.JWK and not plain:
        raise UsageError("a private JWK is not encrypted; add --plain, or take PEM")
    _refuse_existing(out)
    stored.find(name)  # before asking for a passphrase for nothing
    taken = stored.get(name, read_passphrase(passphrase_file))
    if form is Format.JWK:
        data = json.dumps(encode_private_jwk(taken)).encode() + b"\n"
    else:
        prompt = "Passphrase for the PEM file"
        secret = (
            None
            if plain
            else read_passphrase(pem_passphrase_file, twice=True, prompt=prompt)
        )
        data = encode_private_pem(taken, secret, entropy=os.urandom)
    taken.wipe()
    _write(data, out)


@key.command()
def remove(
    store: Store,
    name: Name,
    yes: Annotated[
        bool, typer.Option("--yes", help="The key is lost for good.")
    ] = False,
) -> None:
    """Delete a key from STORE. A record that holds it is not changed: see revoke."""
    stored = _open(store)
    stored.find(name)
    if not yes:
        raise UsageError(f"{name} would be lost for good; add --yes")
    stored.remove(name)
    print(f"deleted {name}")


key.command()(rotate)
key.command()(revoke)


def _open(store: Path) -> KeyStore:
    return KeyStore(store, entropy=os.urandom)


def _put(
    store: Path,
    name: str,
    made: SigningKey | KemKey,
    passphrase_file: Path | None,
    scrypt_n: int,
) -> None:
    stored = KeyStore.create(store, entropy=os.urandom)
    if any(entry.name == name for entry in stored.entries()):
        raise ConfigError(f"{store} has a key {name}; choose another name")
    passphrase = read_passphrase(passphrase_file, twice=True)
    stored.put(name, made, passphrase, scrypt_n=scrypt_n)
    made.wipe()
    _print_entry(stored.find(name))


def _print_entry(entry: StoredKey) -> None:
    public = entry.public
    print(f"{entry.name}  {public.algorithm}  {key_id(public.key)}  {public.kid}")


def _encode_public(public: PublicKey, form: Format) -> bytes:
    if form is Format.PEM:
        return encode_public_pem(public)
    return json.dumps(encode_public_jwk(public)).encode() + b"\n"


def _refuse_existing(out: Path) -> None:
    if str(out) != "-" and os.path.lexists(out):
        raise ConfigError(f"{out} exists; choose another name")


def _write(data: bytes, out: Path) -> None:
    if str(out) == "-":
        sys.stdout.write(data.decode("ascii"))
        return
    _refuse_existing(out)
    write_private_file(out, data)
    print(f"written to {out}", file=sys.stderr)
