"""The oblivious function, client side: RFC 9497, VOPRF(ristretto255, SHA-512), over a plain
implementation of ristretto255 (RFC 9496).

In scope: blinding, checking the batch proof, unblinding. For tests: it is not constant-time, so
don't use it where somebody can measure it.
"""

import hashlib
import secrets

from codec import Fault

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
SQRT_M1 = pow(2, (P - 1) // 4, P)


def _negative(x):
    return x & 1


def _abs(x):
    return P - x if _negative(x) else x


def _sqrt_ratio(u, v):
    """RFC 9496, 4.2: (whether u/v is a square, the non-negative root of it or of i*u/v)."""
    r = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    check = v * r * r % P
    if check in (-u % P, -u * SQRT_M1 % P):
        r = r * SQRT_M1 % P
    return check in (u % P, -u % P), _abs(r)


INVSQRT_A_MINUS_D = _sqrt_ratio(1, -1 - D)[1]
SQRT_AD_MINUS_ONE = _sqrt_ratio(-D - 1, 1)[1]
# RFC 9496 fixes the negative root.
SQRT_AD_MINUS_ONE = P - SQRT_AD_MINUS_ONE if not _negative(SQRT_AD_MINUS_ONE) else SQRT_AD_MINUS_ONE
ONE_MINUS_D_SQ = (1 - D * D) % P
D_MINUS_ONE_SQ = (D - 1) * (D - 1) % P


class Point:
    """A group element, in extended Edwards coordinates."""

    def __init__(self, x, y, z=1, t=None):
        self.x, self.y, self.z = x % P, y % P, z % P
        self.t = (x * y if t is None else t) % P

    def __add__(self, other):
        a = (self.y - self.x) * (other.y - other.x) % P
        b = (self.y + self.x) * (other.y + other.x) % P
        c = 2 * D * self.t * other.t % P
        d = 2 * self.z * other.z % P
        e, f, g, h = b - a, d - c, d + c, b + a
        return Point(e * f, g * h, f * g, e * h)

    def __rmul__(self, scalar):
        total, power = Point(0, 1), self
        while scalar:
            if scalar & 1:
                total = total + power
            power, scalar = power + power, scalar >> 1
        return total

    def __eq__(self, other):
        # RFC 9496, 4.3.3.
        cross = (self.x * other.y - self.y * other.x) % P
        return cross == 0 or (self.y * other.y - self.x * other.x) % P == 0

    def encode(self):
        """RFC 9496, 4.3.2."""
        u1 = (self.z + self.y) * (self.z - self.y) % P
        u2 = self.x * self.y % P
        _, invsqrt = _sqrt_ratio(1, u1 * u2 * u2)
        den1, den2 = invsqrt * u1 % P, invsqrt * u2 % P
        z_inv = den1 * den2 * self.t % P
        if _negative(self.t * z_inv % P):
            x, y = self.y * SQRT_M1 % P, self.x * SQRT_M1 % P
            den = den1 * INVSQRT_A_MINUS_D % P
        else:
            x, y, den = self.x, self.y, den2
        if _negative(x * z_inv % P):
            y = -y % P
        return _abs(den * (self.z - y) % P).to_bytes(32, "little")

    @staticmethod
    def decode(data):
        """RFC 9496, 4.3.1; refuses the identity, as RFC 9497, 2.1 asks."""
        s = int.from_bytes(data, "little")
        if len(data) != 32 or s >= P or _negative(s):
            raise Fault("not a group element")
        ss = s * s % P
        u1, u2 = (1 - ss) % P, (1 + ss) % P
        v = (-D * u1 * u1 - u2 * u2) % P
        square, invsqrt = _sqrt_ratio(1, v * u2 * u2)
        den_x = invsqrt * u2 % P
        den_y = invsqrt * den_x * v % P
        x, y = _abs(2 * s * den_x % P), u1 * den_y % P
        if not square or _negative(x * y % P) or y == 0 or s == 0:
            raise Fault("not a group element")
        return Point(x, y)


def _map(data):
    """RFC 9496, 4.3.4: MAP."""
    t = int.from_bytes(data, "little") % 2**255 % P
    r = SQRT_M1 * t * t % P
    u = (r + 1) * ONE_MINUS_D_SQ % P
    v = (-1 - r * D) * (r + D) % P
    square, s = _sqrt_ratio(u, v)
    c = -1
    if not square:
        s, c = -_abs(s * t % P) % P, r
    n = (c * (r - 1) * D_MINUS_ONE_SQ - v) % P
    w0, w1 = 2 * s * v % P, n * SQRT_AD_MINUS_ONE % P
    w2, w3 = (1 - s * s) % P, (1 + s * s) % P
    return Point(w0 * w3, w2 * w1, w1 * w3, w0 * w2)


def _expand(message, dst, length=64):
    """expand_message_xmd of RFC 9380, 5.3.1, with SHA-512."""
    dst += bytes([len(dst)])
    b0 = hashlib.sha512(bytes(128) + message + length.to_bytes(2, "big") + b"\0" + dst).digest()
    return hashlib.sha512(b0 + b"\1" + dst).digest()[:length]


_CONTEXT = b"OPRFV1-\x01-ristretto255-SHA512"
BASE = Point.decode(
    bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76")
)


def hash_to_group(data):
    uniform = _expand(data, b"HashToGroup-" + _CONTEXT)
    return _map(uniform[:32]) + _map(uniform[32:])


def _hash_to_scalar(data):
    return int.from_bytes(_expand(data, b"HashToScalar-" + _CONTEXT), "little") % ORDER


def _sized(data):
    return len(data).to_bytes(2, "big") + data


class Blinding:
    """The secrets of one batch."""

    def __init__(self, tokens, blinds=None):
        self.tokens = tokens
        self.blinds = blinds or [1 + secrets.randbelow(ORDER - 1) for _ in tokens]
        points = zip(self.blinds, map(hash_to_group, tokens))
        self.blinded = [(blind * point).encode() for blind, point in points]

    def finalize(self, elements, proof, public_key):
        """Checks the proof over the batch and returns the 64-byte outputs."""
        if len(elements) != len(self.tokens) or len(proof) != 64:
            raise Fault("an evaluation of another size")
        key = Point.decode(public_key)
        evaluated = [Point.decode(element) for element in elements]
        self._check(key, evaluated, proof)
        outputs = []
        for token, blind, point in zip(self.tokens, self.blinds, evaluated):
            unblinded = (pow(blind, -1, ORDER) * point).encode()
            data = _sized(token) + _sized(unblinded) + b"Finalize"
            outputs.append(hashlib.sha512(data).digest())
        return outputs

    def _check(self, key, evaluated, proof):
        """RFC 9497, 2.2.2: VerifyProof with ComputeComposites."""
        c, s = int.from_bytes(proof[:32], "little"), int.from_bytes(proof[32:], "little")
        if c >= ORDER or s >= ORDER:
            raise Fault("not a proof")
        encoded_key = key.encode()
        seed_dst = _sized(b"Seed-" + _CONTEXT)
        seed = hashlib.sha512(_sized(encoded_key) + seed_dst).digest()
        m, z = Point(0, 1), Point(0, 1)
        for index, (blinded, point) in enumerate(zip(self.blinded, evaluated)):
            transcript = _sized(seed) + index.to_bytes(2, "big") + _sized(blinded)
            weight = _hash_to_scalar(transcript + _sized(point.encode()) + b"Composite")
            m = m + weight * Point.decode(blinded)
            z = z + weight * point
        t2, t3 = s * BASE + c * key, s * m + c * z
        parts = (encoded_key, m.encode(), z.encode(), t2.encode(), t3.encode())
        if _hash_to_scalar(b"".join(map(_sized, parts)) + b"Challenge") != c:
            raise Fault("the broker did not use the key that it published")
