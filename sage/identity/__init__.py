"""Who somebody is: names, keys, records, and the registries that hold them.

`parse_did` and `parse_key_url` read names. `SigningKey` and `KemKey` are ours,
`PublicKey` is what a record says of others. `create_record` and its successors
make records, `parse_record` checks them, a `Resolver` finds them. `encrypt_secret`
keeps private keys in files; `encode_public_jwk`, `encode_public_pem` and their like
exchange keys with other programs. The sans-IO half of the ``web`` registry is in
`sage.identity.web`.
"""

from .did import ParsedDid, ParsedKeyUrl, parse_did, parse_key_url
from .jwk import (
    decode_private_jwk,
    decode_public_jwk,
    encode_private_jwk,
    encode_public_jwk,
    jwk_thumbprint,
)
from .key_store import KeyStore, StoredKey
from .keys import KemKey, PublicKey, SigningKey
from .keystore import (
    decrypt_secret,
    encrypt_secret,
    read_private_file,
    write_private_file,
)
from .lifecycle import (
    activate,
    add_keys,
    create_record,
    deactivate,
    revoke_key,
    set_services,
)
from .pem import (
    decode_private_pem,
    decode_public_pem,
    encode_private_pem,
    encode_public_pem,
    pem_is_encrypted,
)
from .proof import proof_challenge
from .record import AgentRecord, KeyEntry, Proof, ServiceEntry
from .record_schema import parse_record
from .resolver import (
    FileResolver,
    MemoryResolver,
    Observation,
    Resolver,
    write_record_file,
)
from .signature import (
    ALGORITHMS,
    KEM_ALGORITHM,
    ethereum_address,
    key_id,
    sign,
    verify,
)
from .successor import check_successor
from .version_floor import VersionFloor
from .web import (
    check_media,
    encode_web_response,
    parse_web_response,
    well_known_url,
)

__all__ = [
    "ALGORITHMS",
    "KEM_ALGORITHM",
    "AgentRecord",
    "FileResolver",
    "KemKey",
    "KeyEntry",
    "KeyStore",
    "MemoryResolver",
    "Observation",
    "ParsedDid",
    "ParsedKeyUrl",
    "Proof",
    "PublicKey",
    "Resolver",
    "ServiceEntry",
    "SigningKey",
    "StoredKey",
    "VersionFloor",
    "activate",
    "add_keys",
    "check_media",
    "check_successor",
    "create_record",
    "deactivate",
    "decode_private_jwk",
    "decode_private_pem",
    "decode_public_jwk",
    "decode_public_pem",
    "decrypt_secret",
    "encode_private_jwk",
    "encode_private_pem",
    "encode_public_jwk",
    "encode_public_pem",
    "encode_web_response",
    "encrypt_secret",
    "ethereum_address",
    "jwk_thumbprint",
    "key_id",
    "parse_did",
    "parse_key_url",
    "parse_record",
    "parse_web_response",
    "pem_is_encrypted",
    "proof_challenge",
    "read_private_file",
    "revoke_key",
    "set_services",
    "sign",
    "verify",
    "well_known_url",
    "write_private_file",
    "write_record_file",
]
