"""The published test vectors of what this client computes by hand."""

from cryptography.hazmat.primitives.asymmetric import x25519

import codec
import oprf
import tlog


def _hex(*parts):
    return bytes.fromhex("".join(parts))


def rfc_8785():
    """RFC 8785, 3.2.2 and 3.2.3: escapes, and keys by UTF-16 code units."""
    value = {"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew", "1": "One",
             "\U0001f600": "Emoji", "\u0080": "Control", "\u00f6": "Latin"}
    order = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    text = codec.canonical(value).decode()
    places = [text.index(codec.canonical(key).decode() + ":") for key in order]
    assert places == sorted(places)
    string = "\u20ac$\u000f\nA'B\"\\\\\"/"
    expected = "\"\u20ac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\""
    assert codec.canonical(string).decode() == expected


def rfc_9180():
    """RFC 9180, A.2.1: base mode, DHKEM(X25519), HKDF-SHA256, ChaCha20Poly1305."""
    ephemeral = x25519.X25519PrivateKey.from_private_bytes(
        _hex("f4ec9b33b792c372c1d2c2063507b684ef925b8c75a42dbcbf57d63ccd381600"))
    recipient = x25519.X25519PrivateKey.from_private_bytes(
        _hex("8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb"))
    info = _hex("4f6465206f6e2061204772656369616e2055726e")
    aad, plain = b"Count-0", b"Beauty is truth, truth beauty"
    public = codec.public_bytes(recipient)
    assert public.hex() == "4310ee97d88cc1f088a5576c77ab0cf5c3ac797f3d95139c6c84b5429c59662a"
    enc, sealed = codec.hpke_seal(public, info, aad, plain, ephemeral)
    assert enc.hex() == "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a"
    assert sealed == _hex("1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db2199",
                          "3c62ce81883d2dd1b51a28")
    assert codec.hpke_open(recipient, enc, info, aad, sealed) == plain


def rfc_9496():
    """RFC 9496, A.1: multiples of the generator."""
    multiples = [
        "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
        "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
        "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
    ]
    for n, encoded in enumerate(multiples, 1):
        assert (n * oprf.BASE).encode().hex() == encoded
        assert oprf.Point.decode(bytes.fromhex(encoded)) == n * oprf.BASE
    for bad in ("00" * 32, "ff" * 32, "01" + "00" * 31, "00" * 31 + "80"):
        try:
            oprf.Point.decode(bytes.fromhex(bad))
        except codec.Fault:
            continue
        raise AssertionError(bad)


def rfc_9497():
    """RFC 9497, A.1.2.3: a batch of two in verifiable mode."""
    blinds = [
        "64d37aed22a27f5191de1c1d69fadb899d8862b58eb4220029e036ec4c1f6706",
        "222a5e897cf59db8145db8d16e597e8facb80ae7d4e26d9881aa6f61d645fc0e",
    ]
    tokens = [b"\x00", b"\x5a" * 17]
    scalars = [int.from_bytes(bytes.fromhex(b), "little") for b in blinds]
    blinding = oprf.Blinding(tokens, scalars)
    assert [b.hex() for b in blinding.blinded] == [
        "863f330cc1a1259ed5a5998a23acfd37fb4351a793a5b3c090b642ddc439b945",
        "90a0145ea9da29254c3a56be4fe185465ebb3bf2a1801f7124bbbadac751e654",
    ]
    evaluated = [
        _hex("aa8fa048764d5623868679402ff6108d2521884fa138cd7f9c7669a9a014267e"),
        _hex("cc5ac221950a49ceaa73c8db41b82c20372a4c8d63e5dded2db920b7eee36a2a"),
    ]
    proof = _hex("cc203910175d786927eeb44ea847328047892ddf8590e723c37205cb74600b0a",
                 "5ab5337c8eb4ceae0494c2cf89529dcf94572ed267473d567aeed6ab873dee08")
    key = _hex("c803e2cc6b05fc15064549b5920659ca4a77b2cca6f04f6b357009335476ad4e")
    outputs = blinding.finalize(evaluated, proof, key)
    assert [o[:32].hex() for o in outputs] == [
        "b58cfbe118e0cb94d79b5fd6a6dafb98764dff49c14e1770b566e42402da1a7d",
        "8a9a2f3c7f085b65933594309041fc1898d42d0858e59f90814ae90571a6df60",
    ]
    for spoilt in (bytes(64), proof[:-1] + bytes([proof[-1] ^ 1])):
        try:
            blinding.finalize(evaluated, spoilt, key)
        except codec.Fault:
            continue
        raise AssertionError("a wrong proof passed")


def rfc_6962():
    """The trees that Certificate Transparency's own tests publish: root of eight leaves."""
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657",
              "606162636465666768696a6b6c6d6e6f"]
    hashes = [tlog.leaf_hash(bytes.fromhex(leaf)) for leaf in leaves]
    assert tlog.root_of(hashes).hex() == (
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328")


ALL = (rfc_8785, rfc_9180, rfc_9496, rfc_9497, rfc_6962)
