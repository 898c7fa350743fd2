"""Canonical JSON, DSSE, commitments and sealing, written from docs/PROTOCOL.md and the RFCs.

In scope: RFC 8785 without floats, DSSE pre-authentication encoding, salted commitments, HPKE
(RFC 9180) base mode with X25519, HKDF-SHA256 and ChaCha20Poly1305, padding.
Out of scope: what the statements mean, keys on disk, the network.
"""

import base64
import hashlib
import hmac
import json
import os
import unicodedata

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, x25519
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

STATEMENT_TYPE = "application/vnd.passerelle.statement.v1+json"
PERMIT_TYPE = "application/vnd.passerelle.permit.v1+json"
SEAL_PREFIX = b"passerelle/seal/v1\0"
CONTEXT_SIZE = 8 << 10
SHORT_ANSWER = 8 << 10
LONG_ANSWER = 64 << 10
SIZES = (1 << 10, 8 << 10, 64 << 10, 256 << 10)


class Fault(Exception):
    """What the other side sent does not hold."""


def canonical(value):
    """The one encoding of a value (RFC 8785); floats have none here."""
    return _text(value).encode("utf-8")


def _text(value):
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        if abs(value) >= 1 << 53:
            raise Fault("a number that is not exact in JSON")
        return str(value)
    if isinstance(value, list):
        return "[" + ",".join(_text(item) for item in value) + "]"
    if isinstance(value, dict):
        # RFC 8785, 3.2.3: by UTF-16 code units, which is not the order of code points.
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{_text(key)}:{_text(value[key])}" for key in keys) + "}"
    raise Fault(f"no canonical form for {type(value).__name__}")


def parse_canonical(data):
    """Parses, and refuses anything but the canonical spelling."""
    try:
        value = json.loads(data.decode("utf-8"))
    except ValueError as error:
        raise Fault("not JSON") from error
    if canonical(value) != data:
        raise Fault("not canonical")
    return value


def sha256(data):
    return hashlib.sha256(data).digest()


def b64(data):
    return base64.b64encode(data).decode("ascii")


def unb64(text):
    """Standard base64 in its one spelling."""
    data = base64.b64decode(text, validate=True)
    if b64(data) != text:
        raise Fault("base64 in another spelling")
    return data


def pae(payload_type, payload):
    """DSSE v1, pre-authentication encoding."""
    kind = payload_type.encode("ascii")
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def verify(public, message, signature):
    """Whether an Ed25519 signature verifies."""
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def commitment(field, random, data):
    """SHA-256(tag || random || u64be length || data)."""
    tag = f"passerelle/v1/{field}".encode("ascii")
    return sha256(tag + random + len(data).to_bytes(8, "big") + data)


class Opening:
    """What opens a commitment; its random is fresh unless given."""

    def __init__(self, field, data, random=None):
        self.field, self.data = field, data
        self.random = os.urandom(32) if random is None else random

    def hex(self):
        return commitment(self.field, self.random, self.data).hex()

    def json(self):
        """As in sealed contents."""
        return {"data": b64(self.data), "field": self.field, "random": self.random.hex()}

    @staticmethod
    def from_json(value):
        return Opening(value["field"], unb64(value["data"]), bytes.fromhex(value["random"]))


# HPKE, RFC 9180, base mode, one message a key.

_KEM = b"KEM" + (0x0020).to_bytes(2, "big")
_SUITE = b"HPKE" + b"".join(n.to_bytes(2, "big") for n in (0x0020, 0x0001, 0x0003))


def _extract(salt, suite, label, ikm):
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + ikm, "sha256")


def _expand(prk, suite, label, info, length):
    labeled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    out, block, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(prk, block + labeled + bytes([counter]), "sha256")
        out, counter = out + block, counter + 1
    return out[:length]


def public_bytes(key):
    """The 32 bytes of the public half of a private key."""
    raw = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    return key.public_key().public_bytes(*raw)


def _shared_secret(private, public, context):
    try:
        point = private.exchange(x25519.X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise Fault("a public key of small order") from error
    prk = _extract(b"", _KEM, b"eae_prk", point)
    return _expand(prk, _KEM, b"shared_secret", context, 32)


def _key_and_nonce(secret, info):
    psk_id = _extract(b"", _SUITE, b"psk_id_hash", b"")
    info_hash = _extract(b"", _SUITE, b"info_hash", info)
    context = b"\0" + psk_id + info_hash
    prk = _extract(secret, _SUITE, b"secret", b"")
    key = _expand(prk, _SUITE, b"key", context, 32)
    return key, _expand(prk, _SUITE, b"base_nonce", context, 12)


def hpke_seal(recipient, info, aad, plain, ephemeral=None):
    """(encapsulated key, ciphertext). An ephemeral key is given by the test vectors only."""
    ephemeral = ephemeral or x25519.X25519PrivateKey.generate()
    encapsulated = public_bytes(ephemeral)
    secret = _shared_secret(ephemeral, recipient, encapsulated + recipient)
    key, nonce = _key_and_nonce(secret, info)
    return encapsulated, ChaCha20Poly1305(key).encrypt(nonce, plain, aad)


def hpke_open(private, encapsulated, info, aad, sealed):
    secret = _shared_secret(private, encapsulated, encapsulated + public_bytes(private))
    key, nonce = _key_and_nonce(secret, info)
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, aad)
    except InvalidTag as error:
        raise Fault("the sealed message does not open") from error


def seal(recipient, info, aad, content, size):
    """A sealed message: encapsulated key, then the padded content."""
    if size not in SIZES or len(content) > size - 4:
        raise Fault("no such size, or the content does not fit")
    padded = len(content).to_bytes(4, "big") + content
    padded += bytes(size - len(padded))
    return b"".join(hpke_seal(recipient, SEAL_PREFIX + info, aad, padded))


def unseal(private, info, aad, sealed):
    if len(sealed) - 48 not in SIZES:
        raise Fault("a sealed message of a size that there is not")
    padded = hpke_open(private, sealed[:32], SEAL_PREFIX + info, aad, sealed[32:])
    length = int.from_bytes(padded[:4], "big")
    if length > len(padded) - 4 or any(padded[4 + length :]):
        raise Fault("wrong padding")
    return padded[4 : 4 + length]


# Match tokens.

_LETTERS = {
    "œ": "oe", "æ": "ae", "ß": "ss", "þ": "th", "ŋ": "ng", "ø": "o", "ł": "l", "đ": "d",
    "ð": "d", "ħ": "h", "ŧ": "t", "ı": "i", "ς": "σ",
}
_DROPPED = (
    (0x300, 0x36F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F),
    (0x591, 0x5C7), (0x64B, 0x65F), (0x670, 0x670), (0x2B0, 0x2FF), (0x294, 0x294),
    (0x242, 0x242), (0xA78C, 0xA78C), (0xA788, 0xA788),
)


def normalise(name):
    """The one spelling of a name under which its usual spellings meet."""
    lower = unicodedata.normalize("NFKD", name).lower()
    out = []
    for letter in unicodedata.normalize("NFKD", lower):
        if letter in _LETTERS:
            out.append(_LETTERS[letter])
        elif any(low <= ord(letter) <= high for low, high in _DROPPED):
            continue
        elif unicodedata.category(letter)[0] in "LNM":
            out.append(letter)
    return unicodedata.normalize("NFKD", "".join(out))


def match_token(family, given, born):
    return f"passerelle-match-v1|{normalise(family)}|{normalise(given)}|{born}".encode("utf-8")
