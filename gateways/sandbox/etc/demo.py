"""Demo keys of both sides, and the stand-in's configuration from its files.

Knows the layout of both sides' key directories; must not know where they lie. Called by the demo's composition root and by tests.

Theirs: ``party/{key id}.sm2`` and ``.pem`` (private keys of the clearing party, in order of their names), ``provider/{key id}.sm2``
or ``.pem`` (the engine's public keys).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gateways.etc import keys as etc_keys
from gateways.etc import sm2
from gateways.etc.sign import Algorithm, OurKey, TheirKey
from gateways.keys import private_key
from gateways.sandbox.etc.desk import EtcConfig
from gateways.sandbox.stand_in import DemoKeys, KeySource

PROVIDER: Final = "00000000000000FE"
"""The engine's party id in a demo."""
PARTY: Final = "00000000000000FD"
"""The clearing party's: Tongxingbao's."""
OUR_KEY: Final = "tongting-1"
_FILE: Final = re.compile(r"(party|provider)/([0-9A-Za-z_.\-]{1,32})\.(sm2|pem)")


def make(source: KeySource, *, signs: Algorithm = Algorithm.SM2, own: Iterable[str] = ()) -> DemoKeys:
    """Make the key files of both sides. ``signs``: how the engine signs; the clearing party has a key of either kind.

    ``own`` names (``key_ref``) operators that sign with an SM2 key of their own.
    """
    party_sm2, party_rsa = _number(source, "etc party"), source.rsa("etc party")
    theirs = {"party/etc-1.sm2": _hex(party_sm2), "party/etc-2.pem": party_rsa}
    ours = {
        f"channel/{PARTY}/etc-1.sm2": _public_hex(party_sm2),
        f"channel/{PARTY}/etc-2.pem": _public_pem(party_rsa),
    }
    if signs is Algorithm.SM2:
        number = _number(source, "etc provider")
        ours[f"own/{OUR_KEY}.sm2"] = _hex(number)
        theirs[f"provider/{OUR_KEY}.sm2"] = _public_hex(number)
    else:
        pem = source.rsa("etc provider")
        ours[f"own/{OUR_KEY}.pem"] = pem
        theirs[f"provider/{OUR_KEY}.pem"] = _public_pem(pem)
    for ref in own:
        number = _number(source, f"etc operator {ref}")
        ours[f"merchants/{ref}/{ref}-1.sm2"] = _hex(number)
        theirs[f"provider/{ref}-1.sm2"] = _public_hex(number)
    return DemoKeys(ours=ours, theirs=theirs)


def config(theirs: Mapping[str, bytes], *, notify_url: str, **settings: Any) -> EtcConfig:
    """Return the stand-in's configuration from its key files (``DemoKeys.theirs``); ``settings`` are other fields of it.

    Raises ValueError for a file that is not expected or cannot be read.
    """
    signing: list[OurKey] = []
    provider_keys: dict[str, TheirKey] = {}
    provider = settings.pop("provider", PROVIDER)
    for path in sorted(theirs):
        if (found := _FILE.fullmatch(path)) is None:
            raise ValueError(f"{path}: not expected among the keys of the ETC stand-in")
        side, key_id, kind = found.groups()
        if side == "party":
            signing.append(OurKey(key_id, etc_keys.sm2_private(theirs[path]) if kind == "sm2" else private_key(theirs[path])))
        else:
            provider_keys[key_id] = TheirKey(
                key_id, provider, etc_keys.sm2_public(theirs[path]) if kind == "sm2" else _rsa_public(theirs[path])
            )
    given: dict[str, Any] = {"party": PARTY} | settings
    return EtcConfig(provider=provider, provider_keys=provider_keys, keys=tuple(signing), notify_url=notify_url, **given)


def _number(source: KeySource, name: str) -> int:
    """Return the number of an SM2 private key."""
    return int.from_bytes(source.secret(name), "big") % (sm2.N - 2) + 1


def _hex(number: int) -> bytes:
    return f"{number:064x}\n".encode()


def _public_hex(number: int) -> bytes:
    return sm2.PrivateKey(number).public.raw.hex().encode() + b"\n"


def _public_pem(pem: bytes) -> bytes:
    return private_key(pem).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _rsa_public(pem: bytes) -> Any:
    return serialization.load_pem_public_key(pem)
